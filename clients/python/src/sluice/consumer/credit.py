"""How many messages may be outstanding: about a second's worth of the speed at which they are settled."""

from __future__ import annotations

SMALLEST = 16
FIRST = 1_000
HEADROOM = 2
"""How many seconds' worth of the measured speed is granted: a consumer that is held by its credit doubles it."""
GROW_AFTER_S = 0.1
SHRINK_AFTER_S = 1.0
SHRINK_TO = 0.25
"""A window without a settlement says little of the speed: no more than this is taken off at once."""
NOTABLE = 0.25
"""Smaller changes are not worth a request."""


class Credit:
    """Pure arithmetic: it is told what was settled and what time it is, and says how much to grant."""

    def __init__(self, max_messages: int, now_s: float) -> None:
        self._max_messages = max_messages
        self.messages = min(FIRST, max_messages)
        self._settled_count = 0
        self._window_began_s = now_s
        self._was_idle = False

    def settled(self, count: int = 1) -> None:
        self._settled_count += count

    def idle(self) -> None:
        """Nothing is held: what was measured meanwhile is not how fast it could be."""
        self._was_idle = True

    def update(self, now_s: float) -> bool:
        """Measures; true when another number is to be granted."""
        elapsed_s = now_s - self._window_began_s
        if elapsed_s < GROW_AFTER_S:
            return False
        wanted = HEADROOM * self._settled_count / elapsed_s
        if wanted > self.messages:
            return self._grant(wanted, now_s)
        if elapsed_s < SHRINK_AFTER_S:
            return False
        if self._was_idle:
            self._begin(now_s)
            return False
        return self._grant(max(wanted, self.messages * SHRINK_TO), now_s)

    def _grant(self, wanted: float, now_s: float) -> bool:
        self._begin(now_s)
        messages = min(self._max_messages, max(SMALLEST, round(wanted)))
        is_extreme = messages in (self._max_messages, min(SMALLEST, self._max_messages))
        difference = abs(messages - self.messages)
        if difference == 0 or (difference < self.messages * NOTABLE and not is_extreme):
            return False
        self.messages = messages
        return True

    def _begin(self, now_s: float) -> None:
        self._settled_count = 0
        self._window_began_s = now_s
        self._was_idle = False
