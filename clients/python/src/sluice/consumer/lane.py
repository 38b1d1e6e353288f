"""Messages that are handled one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lane(Generic[T]):
    """Messages of one partition, or of one key: one at a time, in order."""

    __slots__ = ("is_busy", "is_exclusive", "is_ready", "name", "pause_count", "queue")

    def __init__(self, name: Hashable, is_exclusive: bool) -> None:
        self.name = name
        self.is_exclusive = is_exclusive
        """False: of messages without an order, any number may be handled at once."""
        self.queue: deque[T] = deque()
        self.is_busy = False
        """A handler works on it."""
        self.pause_count = 0
        """Nacks that the broker has not answered."""
        self.is_ready = False
        """It stands among those from which the next one is taken."""
