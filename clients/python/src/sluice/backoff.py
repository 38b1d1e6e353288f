"""How long to wait before the next try."""

import random


class Backoff:
    """Doubles from the shortest to the longest pause, with jitter, until something went well."""

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._failure_count = 0

    def next_s(self, asked_s: float | None = None) -> float:
        """The next pause: a longer one that the broker has asked for counts."""
        most_s = min(self._max_s, self._min_s * (1 << min(self._failure_count, 30)))
        self._failure_count += 1
        return max(asked_s or 0, most_s * random.uniform(0.5, 1))

    def reset(self) -> None:
        """Something went well: the next pause is a short one again."""
        self._failure_count = 0
