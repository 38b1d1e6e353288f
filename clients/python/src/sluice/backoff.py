"""The delay before the next attempt."""

import random


class Backoff:
    """Doubles from the shortest to the longest delay, with jitter, until an attempt succeeds."""

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._failure_count = 0

    def next_s(self, asked_s: float | None = None) -> float:
        """The next delay. If the broker asked for a longer delay, it is that delay."""
        most_s = min(self._max_s, self._min_s * (1 << min(self._failure_count, 30)))
        self._failure_count += 1
        return max(asked_s or 0, most_s * random.uniform(0.5, 1))

    def reset(self) -> None:
        """An attempt has succeeded: the next delay is the shortest."""
        self._failure_count = 0
