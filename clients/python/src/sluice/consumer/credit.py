"""The message credit: about the number of messages that are settled in a second."""

from __future__ import annotations

SMALLEST = 16
"""What is granted at first, and at least: little, so that consumers that are idle share what comes."""
HEADROOM = 2
"""How many seconds' worth of the measured speed is granted: a consumer that is held by its credit doubles it."""
FAST_TURNOVER_S = 1.0
"""What is granted is too little if all of it is settled within this."""
SHRINK_AFTER_S = 1.0
SHRINK_TO = 0.25
"""A window without a settlement says little of the speed: no more than this is taken off at once."""
NOTABLE = 0.25
"""Smaller changes are not worth a request."""


class Credit:
    """Computes the credit from the number of settled messages and the time."""

    def __init__(self, max_messages: int, concurrency: int, now_s: float) -> None:
        self._max_messages = max_messages
        # There is a message for each free handler.
        self._least = min(max_messages, max(SMALLEST, 2 * concurrency))
        self.messages = self._least
        self._settled_count = 0
        self._window_began_s = now_s
        self._was_idle = False

    def settled(self, count: int = 1) -> None:
        self._settled_count += count

    def idle(self) -> None:
        """The consumer holds no message: this time is not measured."""
        self._was_idle = True

    @property
    def is_turned_over(self) -> bool:
        """Whether the whole credit was settled since the last update: then `update` can raise it."""
        return self._settled_count >= self.messages

    def raise_to(self, least: int) -> bool:
        """Raises the credit to this number, and at least to twice its value. True if it has changed."""
        if self.messages >= min(least, self._max_messages):
            return False
        self.messages = min(self._max_messages, max(least, 2 * self.messages))
        return True

    def update(self, now_s: float) -> bool:
        """Computes the credit. True if it has changed."""
        elapsed_s = now_s - self._window_began_s
        if self.is_turned_over and self.messages < self._max_messages and elapsed_s <= FAST_TURNOVER_S:
            return self._grant(2 * self.messages, now_s)
        if elapsed_s < SHRINK_AFTER_S:
            return False
        wanted = HEADROOM * self._settled_count / elapsed_s
        if wanted > self.messages:
            return self._grant(wanted, now_s)
        if self._was_idle:
            self._begin(now_s)
            return False
        return self._grant(max(wanted, self.messages * SHRINK_TO), now_s)

    def _grant(self, wanted: float, now_s: float) -> bool:
        self._begin(now_s)
        messages = min(self._max_messages, max(self._least, round(wanted)))
        is_extreme = messages in (self._max_messages, self._least)
        difference = abs(messages - self.messages)
        if difference == 0 or (difference < self.messages * NOTABLE and not is_extreme):
            return False
        self.messages = messages
        return True

    def _begin(self, now_s: float) -> None:
        self._settled_count = 0
        self._window_began_s = now_s
        self._was_idle = False
