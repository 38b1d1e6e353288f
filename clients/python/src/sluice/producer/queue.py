"""The messages of a producer that have no receipt yet, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from ..connection import MIB
from ..errors import SluiceError
from ..message import Receipt
from .batch import Batch
from .settings import ProducerSettings

Entry = tuple[bytes, bytes, bytes, "asyncio.Future[Receipt]"]
"""Head, payload and key of an encoded message, and who waits for its receipt."""


class SendQueue:
    """
    What was handed over: batches in the order of their messages, the last of them open, and behind them the messages
    for which there is no room yet.
    """

    def __init__(self, settings: ProducerSettings, ready: Callable[[], None]) -> None:
        self._settings = settings
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self.batches: deque[Batch] = deque()
        """Closed, not answered yet, oldest first."""
        self.last_sequence = 0
        self.buffered_bytes = 0
        self._open: Batch | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._line: deque[Entry] = deque()
        self._waiting_for_room: deque[asyncio.Future[None]] = deque()
        self._waiting_for_idle: list[asyncio.Future[None]] = []

    @property
    def has_room(self) -> bool:
        return not self._line and self.buffered_bytes < self._settings.buffer_max_bytes

    @property
    def is_empty(self) -> bool:
        return not self.batches and self._open is None and not self._line

    @property
    def has_large_head(self) -> bool:
        """The oldest batch may be larger than what the broker reads at all."""
        return bool(self.batches) and self.batches[0].byte_length >= MIB

    def put(self, entry: Entry) -> None:
        """Takes a message in; while there is no room it stands in line."""
        if self.has_room:
            self._add(entry)
        else:
            self._line.append(entry)

    def _add(self, entry: Entry) -> None:
        head, payload, key, future = entry
        settings = self._settings
        byte_length = len(head) + len(payload)
        batch = self._open
        if batch is not None and batch.byte_length + byte_length > settings.batch_max_bytes:
            self.close_batch()
            batch = None
        if batch is None:
            batch = self._open = Batch()
            self._linger = self._loop.call_later(settings.linger_ms / 1000, self.close_batch)
        batch.add(head, payload, key, future)
        self.buffered_bytes += byte_length
        if batch.byte_length >= settings.batch_max_bytes or len(batch) >= settings.batch_max_messages:
            self.close_batch()

    def close_batch(self) -> None:
        """What has gathered may go."""
        batch = self._open
        if batch is None:
            return
        if self._linger is not None:
            self._linger.cancel()
        self._open = self._linger = None
        batch.first_sequence = self.last_sequence + 1
        self.last_sequence = batch.last_sequence
        self.batches.append(batch)
        self._ready()

    def pop(self) -> Batch:
        """The oldest batch has its answer: whoever calls tells it."""
        batch = self.batches.popleft()
        self.buffered_bytes -= batch.byte_length
        self._let_in()
        self._wake()
        return batch

    def _let_in(self) -> None:
        while self._line and self.buffered_bytes < self._settings.buffer_max_bytes:
            entry = self._line.popleft()
            # Who has given up waiting in line does not want it sent any more.
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
        """Nothing of it will be sent any more."""
        self.close_batch()
        batches, line = list(self.batches), list(self._line)
        self.batches.clear()
        self._line.clear()
        self.buffered_bytes = 0
        for batch in batches:
            batch.reject(error)
        for _, _, _, future in line:
            if not future.done():
                future.set_exception(error)
        for waiting in self._waiting_for_room:
            wake(waiting)
        self._wake()

    async def room(self) -> None:
        """Waits until a message would not have to stand in line."""
        while not self.has_room:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for_room.append(future)
            await future

    async def idle(self) -> None:
        """Waits until everything that was handed over has its answer."""
        while not self.is_empty:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for_idle.append(future)
            await future

    def renumber(self, stored_sequence: int) -> None:
        """The first one goes on where the broker stands, unless part of it is stored already."""
        self.close_batch()
        following = stored_sequence + 1
        if self.batches and self.batches[0].first_sequence <= stored_sequence:
            following = self.batches[0].first_sequence
        for batch in self.batches:
            batch.first_sequence = following
            following += len(batch)
        self.last_sequence = following - 1

    def expired(self, now: float) -> Iterable[Batch]:
        """The oldest batches that have been tried for too long, taken off one by one."""
        timeout_ms = self._settings.retry_timeout_ms
        while timeout_ms is not None and self.batches:
            tried_at = self.batches[0].tried_at
            if tried_at is None or now < tried_at + timeout_ms / 1000:
                return
            yield self.pop()


def wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
