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
    Sends messages to one topic, in batches. The broker stores each message once, in the order of `send`, also when the
    client retries. If the broker refuses a batch finally, the messages of this batch fail, and later batches continue.
    Made by `Client.producer`. Use it with `async with`, or between `open` and `close`.
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
        Claims the name of the producer, which fences an older process of the name, and asks for the last message of
        that process. Tries for `retry_timeout`, or for 10 s. Raises SluiceError. Idempotent.
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
        """
        The number of the last message of this producer that is durable or under way. A named producer continues behind
        it.
        """
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
        Sends a message in the background. Await the returned future, or gather many of them, or drop it. The future
        completes when the message is durable. It raises SluiceError if the broker refuses the message or the producer
        is fenced.

        While the buffer is full, the message waits in memory. A caller that sends without awaiting receipts has to
        await `room` at times. With `when_full="fail"`, this raises BUFFER_FULL instead. Cancelling the future withdraws
        a message that waits for room, and no other message.
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
        Sends messages in order, as fast as the buffer accepts them, and waits for all receipts. Raises the first error,
        after all messages have their results.
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
        """Sends the messages that wait. Returns when all messages of earlier `send` calls have their results."""
        self._queue.gathered()
        await self._queue.idle()

    async def close(self) -> None:
        """Accepts no more messages, flushes, and ends the stream. Idempotent."""
        self._end = self._end or closed("producer")
        await self.flush()
        self._outbox.end_when_empty()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=END_TIMEOUT_S)
            # Does not wait for a broker that does not answer.
            self._task.cancel()
            await asyncio.wait([self._task])

    async def abort(self) -> None:
        """Accepts no more messages, and ends at once: messages without a receipt fail with CLOSED, stored or not."""
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
