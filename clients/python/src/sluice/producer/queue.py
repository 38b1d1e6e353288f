"""The messages of a producer that have no receipt yet, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..errors import SluiceError
from ..message import Receipt
from .batch import Batch
from .settings import ProducerSettings

MAX_GATHER_S = 0.5
"""
With `retry_timeout`, the messages of one batch were handed over within so long: they share the time that is left
to the oldest.
"""


Entry = tuple[bytes, bytes, bytes, "asyncio.Future[Receipt]", float]
"""
Head, payload and key of an encoded message, who waits for its receipt, and when it was handed over, if that is of
interest.
"""


class SendQueue:
    """
    The batches in the order of their messages, of which the last is open, and behind them the messages that wait for
    room.
    """

    def __init__(
        self, settings: ProducerSettings, ready: Callable[[], None], has_slot: Callable[[], bool] = lambda: True
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._has_slot = has_slot
        self._loop = asyncio.get_running_loop()
        self.batches: deque[Batch] = deque()
        """Closed, not answered yet, oldest first."""
        self.buffered_bytes = 0
        self._open: Batch | None = None
        self._is_due = False
        """The open batch has waited for its linger: it goes with the next free slot, and gathers until then."""
        self._linger: asyncio.TimerHandle | None = None
        self._line: deque[Entry] = deque()
        self._waiting_for_room: deque[asyncio.Future[None]] = deque()
        self._waiting_for_idle: list[asyncio.Future[None]] = []
        self._timeout_s = settings.retry_timeout
        linger_s = settings.linger
        self._linger_s = linger_s if self._timeout_s is None else min(linger_s, MAX_GATHER_S)

    @property
    def has_room(self) -> bool:
        return not self._line and self.buffered_bytes < self._settings.buffer_max_bytes

    @property
    def is_empty(self) -> bool:
        return not self.batches and self._open is None and not self._line

    @property
    def open_count(self) -> int:
        """Messages of the open batch."""
        return 0 if self._open is None else len(self._open)

    def put(self, entry: Entry) -> None:
        """Adds a message, which waits while there is no room."""
        if self.has_room:
            self._add(entry)
        else:
            self._line.append(entry)

    def _add(self, entry: Entry) -> None:
        head, payload, key, future, at = entry
        settings = self._settings
        byte_length = len(head) + len(payload)
        batch = self._open
        if batch is not None and (
            batch.byte_length + byte_length > settings.batch_max_bytes or at > batch.opened_at + MAX_GATHER_S
        ):
            self.close_batch()
            batch = None
        if batch is None:
            batch = self._open = Batch(at)
            self._linger = self._loop.call_later(self._linger_s, self.gathered)
        batch.add(head, payload, key, future)
        self.buffered_bytes += byte_length
        if batch.byte_length >= settings.batch_max_bytes or len(batch) >= settings.batch_max_messages:
            self.close_batch()

    def gathered(self) -> None:
        """Sends the open batch at once if there is a free slot. Otherwise it takes messages until there is one."""
        if self._open is None:
            return
        if self._has_slot():
            self.close_batch()
        else:
            self._is_due = True

    def slot_free(self) -> None:
        """A batch may be sent now."""
        if self._is_due:
            self.gathered()

    def close_batch(self) -> None:
        """Closes the open batch."""
        batch = self._open
        if batch is None:
            return
        if self._linger is not None:
            self._linger.cancel()
        self._open = self._linger = None
        self._is_due = False
        self.batches.append(batch)
        self._ready()

    def pop(self) -> Batch:
        """The oldest batch has its answer: the caller completes its futures."""
        batch = self.batches.popleft()
        self.buffered_bytes -= batch.byte_length
        self._let_in()
        self._wake()
        return batch

    def _let_in(self) -> None:
        while self._line and self.buffered_bytes < self._settings.buffer_max_bytes:
            entry = self._line.popleft()
            # The caller has cancelled a message that waited for room.
            if not entry[3].done():
                self._add(entry)

    def _wake(self) -> None:
        while self._waiting_for_room and self.has_room:
            wake(self._waiting_for_room.popleft())
        if self.is_empty:
            for future in self._waiting_for_idle:
                wake(future)
            self._waiting_for_idle.clear()

    def fail_all(self, error: SluiceError) -> None:
        """Fails all messages, because none of them will be sent."""
        self.close_batch()
        batches, line = list(self.batches), list(self._line)
        self.batches.clear()
        self._line.clear()
        self.buffered_bytes = 0
        for batch in batches:
            batch.reject(error)
        for entry in line:
            if not entry[3].done():
                entry[3].set_exception(error)
        for waiting in self._waiting_for_room:
            wake(waiting)
        self._wake()

    async def room(self) -> None:
        """Waits until there is room for a message."""
        while not self.has_room:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for_room.append(future)
            await future

    async def idle(self) -> None:
        """Waits until all messages have their results."""
        while not self.is_empty:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for_idle.append(future)
            await future

    # --- The time that a message has ------------------------------------------------------------------------------

    @property
    def expires_at(self) -> float | None:
        """The time at which the oldest message expires; None if there is no message or no limit."""
        if self._timeout_s is None:
            return None
        if self.batches:
            return self.batches[0].opened_at + self._timeout_s
        if self._open is not None:
            return self._open.opened_at + self._timeout_s
        return self._line[0][4] + self._timeout_s if self._line else None

    def expire(self, now: float, error: SluiceError) -> None:
        """Fails the messages that have expired, oldest first."""
        while (at := self.expires_at) is not None and at <= now:
            if not self.batches and self._open is None:
                entry = self._line.popleft()
                if not entry[3].done():
                    entry[3].set_exception(error)
                self._wake()
                continue
            if not self.batches:
                self.close_batch()
            self.pop().reject(error)


def wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
