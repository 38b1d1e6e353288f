"""How long to wait before the next try."""

import random


class Backoff:
    """Doubles from the shortest to the longest pause, with jitter, until something went well."""

    def __init__(self, min_ms: float, max_ms: float) -> None:
        self._min_ms = min_ms
        self._max_ms = max_ms
        self._failure_count = 0

    def next_ms(self, asked_ms: float | None = None) -> float:
        """The next pause: a longer one that the broker has asked for counts."""
        most_ms = min(self._max_ms, self._min_ms * (1 << min(self._failure_count, 30)))
        self._failure_count += 1
        return max(asked_ms or 0, most_ms * random.uniform(0.5, 1))

    def reset(self) -> None:
        """Something went well: the next pause is a short one again."""
        self._failure_count = 0
