"""The producer: see `Producer`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType

from ..calls import Calls
from ..errors import BUFFER_FULL, SluiceError, StatusCode, closed
from ..message import Message, Receipt
from ..v1.stubs import AdminStub, BrokerStub
from ..wire import message_head
from .outbox import Outbox
from .position import open_position
from .settings import ProducerSettings

MANY = 256
"""Messages of `send_many` between two looks at whether there is room."""
END_TIMEOUT_S = 0.5
"""How long the broker may take to end a stream on which everything is answered."""


class Producer:
    """
    Sends messages to one topic: in batches, several under way at once, each stored once and in the order of `send`,
    whatever breaks meanwhile. A batch that the broker refuses for good fails alone, and those behind it go on. Made
    by `Client.producer`; used with `async with`, or between `open` and `close`.
    """

    def __init__(self, calls: Calls, settings: ProducerSettings) -> None:
        self.settings = settings
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(calls, settings)
        self._queue = self._outbox.queue
        self._has_timeout = settings.retry_timeout is not None
        self._task: asyncio.Task[None] | None = None
        self._end: SluiceError | None = closed("producer")
        """Why nothing more is taken; None while it is open."""

    async def open(self) -> Producer:
        """
        Claims the name of the producer, which fences an older process of the name, and asks where that one ended. Tries
        for `retry_timeout`, or for 10 s. Raises SluiceError. Harmless twice.
        """
        if self._task is not None:
            return self
        broker, admin, states = BrokerStub(self._calls), AdminStub(self._calls), self._calls.states
        self._outbox.begin(*await open_position(broker, admin, self.settings, states))
        self._end = None
        name = f"sluice producer of {self.settings.topic}"
        self._task = asyncio.create_task(self._run(), name=name)
        return self

    @property
    def last_sequence(self) -> int:
        """Messages of this producer that are durable or under way: a named one goes on behind them."""
        return self._outbox.last_sequence

    def send(
        self,
        payload: bytes | str = b"",
        *,
        key: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        event_time: datetime | int | None = None,
    ) -> asyncio.Future[Receipt]:
        """
        Hands a message over, at once: `await` what it returns, or gather many, or forget it. Its result is there when
        the message is durable; it raises SluiceError when the broker refuses the message or the producer is fenced.

        While the buffer is full the message stands in line, in memory: who sends without awaiting receipts awaits
        `room` now and then. With `when_full="fail"` this raises BUFFER_FULL instead. Cancelling what it returns takes
        back a message that stands in line, and no other.
        """
        if self._end is not None:
            raise self._end
        if not self._queue.has_room and self.settings.when_full == "fail":
            text = f"{self._queue.buffered_bytes} bytes wait for their receipt: the buffer is full"
            raise SluiceError(text, code=StatusCode.RESOURCE_EXHAUSTED, reason=BUFFER_FULL)
        if isinstance(payload, str):
            payload = payload.encode()
        if isinstance(key, str):
            key = key.encode()
        future: asyncio.Future[Receipt] = self._loop.create_future()
        at = self._loop.time() if self._has_timeout else 0.0
        self._queue.put((message_head(key, len(payload), headers, event_time), payload, key, future, at))
        if self._has_timeout:
            self._outbox.watch_expiry()
        return future

    async def room(self) -> None:
        """Waits while the buffer is full."""
        await self._queue.room()

    async def send_many(self, messages: Iterable[Message | bytes | str]) -> list[Receipt]:
        """
        Sends messages in order, as fast as the buffer takes them, and waits for all their receipts. Raises the error
        of the first that failed, after all have their answer.
        """
        futures: list[asyncio.Future[Receipt]] = []
        try:
            for message in messages:
                if len(futures) % MANY == 0:
                    await self.room()
                if isinstance(message, Message):
                    future = self.send(
                        message.payload,
                        key=message.key,
                        headers=message.headers,
                        event_time=message.event_time,
                    )
                else:
                    future = self.send(message)
                futures.append(future)
        finally:
            if futures:
                await asyncio.wait(futures)
        # All exceptions are retrieved, so that asyncio reports none as never retrieved.
        failed = [future for future in futures if future.exception() is not None]
        return [future.result() for future in failed or futures]

    async def flush(self) -> None:
        """Sends what waits; returns when everything that was handed over before has its answer."""
        self._queue.gathered()
        await self._queue.idle()

    async def close(self) -> None:
        """Takes no more messages, flushes, and ends the stream. Harmless twice."""
        self._end = self._end or closed("producer")
        await self.flush()
        self._outbox.end_when_empty()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=END_TIMEOUT_S)
            # A broker that does not answer any more is not waited for.
            self._task.cancel()
            await asyncio.wait([self._task])

    async def abort(self) -> None:
        """Takes no more messages, and gives up at once: what has no receipt fails with CLOSED, stored or not."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._give_up(self._end or closed("producer"))

    async def __aenter__(self) -> Producer:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self.abort()
        else:
            await self.close()

    async def _run(self) -> None:
        try:
            await self._outbox.run()
        except SluiceError as error:
            self._give_up(error)
        except Exception as error:
            self._give_up(SluiceError(f"a fault of the client: {error!r}", code=StatusCode.INTERNAL))
            raise

    def _give_up(self, error: SluiceError) -> None:
        self._end = error
        self._queue.fail_all(error)
