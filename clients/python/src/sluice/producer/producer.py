"""The producer: see `Producer`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType

from ..backoff import Backoff
from ..calls import BytesStream, Calls
from ..errors import BUFFER_FULL, SluiceError, StatusCode, closed, from_publish_error
from ..message import Durability, Message, Receipt
from ..routing import places_of
from ..v1 import PublishStreamResponse
from ..v1.stubs import AdminStub, BrokerStub
from ..wire import message_head
from .failures import is_final, is_passing, is_refusal, is_too_large
from .position import partition_count_of, position_of
from .queue import SendQueue
from .settings import ProducerSettings

logger = logging.getLogger(__name__)
METHOD = "/sluice.v1.Broker/PublishStream"
MANY = 256
"""Messages of `send_many` between two looks at whether there is room."""


class Failure(Exception):
    """Why a stream has to be given up, and what may be done about it."""

    def __init__(self, error: SluiceError, *, of_batch: bool = False, is_expired: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.is_refusal = is_refusal(error, of_batch=of_batch)
        self.is_too_large = not of_batch and is_too_large(error)
        self.is_expired = is_expired
        """The oldest batch was tried for too long: the stream itself may be well."""


class Producer:
    """
    Sends messages to one topic: in batches, several under way at once, each stored once and in the order of `send`,
    whatever breaks meanwhile. A batch that the broker refuses for good fails alone, and those behind it go on. Made
    by `Client.producer`; used with `async with`, or between `open` and `close`.
    """

    def __init__(self, calls: Calls, settings: ProducerSettings) -> None:
        self.settings = settings
        self._calls = calls
        self._broker = BrokerStub(calls)
        self._admin = AdminStub(calls)
        self._backoff = Backoff(settings.retry_min_backoff_ms, settings.retry_max_backoff_ms)
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._queue = SendQueue(settings, self._wake.set)
        self._task: asyncio.Task[None] | None = None
        self._epoch = 0
        self._partition_count = 1
        self._sent_count = 0
        """Of the oldest batches, how many were written to the current stream."""
        self._is_closing = False
        self._end: SluiceError | None = closed("producer")
        """Why nothing more is taken; None while it is open."""

    async def open(self) -> Producer:
        """
        Asks the broker where this producer ended, and takes over from an older process of its name. Raises SluiceError.
        Harmless twice.
        """
        if self._task is not None:
            return self
        topic = self.settings.topic
        epoch, last_sequence = await position_of(self._broker, topic, self.settings.producer_id)
        self._partition_count = await partition_count_of(self._admin, topic)
        self._epoch = epoch + 1
        self._queue.last_sequence = last_sequence
        self._end = None
        self._task = asyncio.create_task(self._run(), name=f"sluice producer of {topic}")
        return self

    @property
    def last_sequence(self) -> int:
        """Messages of this producer that are durable or under way: a named one goes on behind them."""
        return self._queue.last_sequence

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
        self._queue.put((message_head(key, len(payload), headers, event_time), payload, key, future))
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
        # All are looked at, so that none counts as a failure that nobody has seen.
        failed = [future for future in futures if future.exception() is not None]
        return [future.result() for future in failed or futures]

    async def flush(self) -> None:
        """Sends what waits; returns when everything that was handed over before has its answer."""
        self._queue.close_batch()
        await self._queue.idle()

    async def close(self) -> None:
        """Takes no more messages, flushes, and ends the stream. Harmless twice."""
        self._is_closing = True
        self._end = self._end or closed("producer")
        await self.flush()
        self._wake.set()
        if self._task is not None:
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
        """Stream after stream, until the producer is closed or over."""
        try:
            while True:
                try:
                    await self._stream()
                    return
                except Failure as failure:
                    await self._recover(failure)
        except SluiceError as error:
            self._give_up(error)
        except Exception as error:
            self._give_up(SluiceError(f"a fault of the client: {error!r}", code=StatusCode.INTERNAL))
            raise

    def _give_up(self, error: SluiceError) -> None:
        self._end = error
        self._queue.fail_all(error)

    async def _stream(self) -> None:
        """Writes batches and reads their answers. Returns when the producer is closed, raises Failure otherwise."""
        self._sent_count = 0
        try:
            stream = await self._calls.open_stream(METHOD)
        except SluiceError as error:
            raise Failure(error) from error
        writing = asyncio.create_task(self._write(stream))
        try:
            while (response := await self._read(stream)) is not None:
                await self._answered(PublishStreamResponse.FromString(response))
                self._backoff.reset()
                self._wake.set()
            if not (self._is_closing and self._queue.is_empty):
                raise Failure(SluiceError("the broker has ended the stream", code=StatusCode.UNAVAILABLE))
        except SluiceError as error:
            raise Failure(error) from error
        finally:
            stream.cancel()
            writing.cancel()
            await asyncio.wait([writing])
            if not writing.cancelled():
                writing.result()

    async def _read(self, stream: BytesStream) -> bytes | None:
        """The next answer. With a limit to how long a batch is tried, waits no longer than that."""
        timeout_ms = self.settings.retry_timeout_ms
        if timeout_ms is None:
            return await stream.read()
        reading = asyncio.ensure_future(stream.read())
        try:
            while True:
                now = self._loop.time()
                oldest = self._queue.batches[0].tried_at if self._queue.batches else None
                wait_s = (now if oldest is None else oldest) + timeout_ms / 1000 - now
                done, _ = await asyncio.wait([reading], timeout=max(0, wait_s))
                if done:
                    return reading.result()
                if oldest is not None and self._queue.batches and self._queue.batches[0].tried_at == oldest:
                    raise Failure(self._timed_out(None), is_expired=True)
        finally:
            reading.cancel()

    async def _write(self, stream: BytesStream) -> None:
        try:
            await self._write_batches(stream)
        except Exception:
            # A fault: nobody must wait for answers any more.
            stream.cancel()
            raise

    async def _write_batches(self, stream: BytesStream) -> None:
        """Writes what may be under way, in order, as the transport takes it."""
        queue, settings = self._queue, self.settings
        while True:
            self._wake.clear()
            while self._sent_count < min(settings.max_in_flight, len(queue.batches)):
                batch = queue.batches[self._sent_count]
                self._sent_count += 1
                if batch.tried_at is None:
                    batch.tried_at = self._loop.time()
                request = batch.encode(settings.topic, settings.partition, settings.producer_id, self._epoch)
                if not await stream.write(request):
                    return
            if self._is_closing and queue.is_empty:
                await stream.half_close()
                return
            await self._wake.wait()

    async def _answered(self, response: PublishStreamResponse) -> None:
        queue = self._queue
        if self._sent_count == 0 or response.batch_id != queue.batches[0].first_sequence:
            raise SluiceError("an answer to no batch that is under way", code=StatusCode.INTERNAL)
        if response.HasField("error"):
            raise Failure(from_publish_error(response.error), of_batch=True)
        batch, durability = queue.batches[0], Durability(response.durability)
        ranges, skipped = response.ranges, response.duplicate_count
        if len(ranges) == 1 and ranges[0].last_offset - ranges[0].first_offset + 1 == len(batch):
            self._pop()
            batch.resolve_range(ranges[0].partition, ranges[0].first_offset, durability)
            return
        keys = batch.keys[skipped:]
        places = places_of(keys, ranges, self._partition_count)
        if places is None and keys and self.settings.partition is None:
            # The topic has more partitions than it had.
            self._partition_count = await partition_count_of(self._admin, self.settings.topic)
            places = places_of(keys, ranges, self._partition_count)
        self._pop()
        batch.resolve(skipped, places, durability)

    def _pop(self) -> None:
        self._queue.pop()
        self._sent_count -= 1

    async def _recover(self, failure: Failure) -> None:
        """
        Asks the broker what it has, which answers only what is durable; fails the oldest batch if that is what was
        refused for good; and numbers the others so that nothing is missing. Raises the SluiceError that ends it all.
        """
        error, queue = failure.error, self._queue
        if is_final(error):
            raise error
        # What was refused for good is no reason to wait.
        wait_ms = 0 if failure.is_refusal or failure.is_expired else self._backoff.next_ms(error.retry_after_ms)
        while True:
            await self._pause(wait_ms, error)
            try:
                _, stored = await position_of(self._broker, self.settings.topic, self.settings.producer_id)
                break
            except SluiceError as thrown:
                if not is_passing(thrown):
                    raise
                error = thrown
                wait_ms = self._backoff.next_ms(error.retry_after_ms)
        logger.info("%s: going on behind message %d after %s", self.settings.producer_id, stored, failure.error)
        is_refused = failure.is_refusal or (failure.is_too_large and queue.has_large_head)
        while queue.batches and queue.batches[0].last_sequence <= stored:
            queue.pop().resolve_duplicate()
            is_refused = False
        if is_refused and queue.batches:
            queue.pop().reject(failure.error)
        self._expire(failure.error)
        queue.renumber(stored)

    async def _pause(self, wait_ms: float, error: SluiceError) -> None:
        """Waits; batches whose time is over fail meanwhile."""
        until = self._loop.time() + wait_ms / 1000
        timeout_ms = self.settings.retry_timeout_ms
        while (left_s := until - self._loop.time()) > 0:
            if timeout_ms is not None and self._queue.batches:
                tried_at = self._queue.batches[0].tried_at or self._loop.time()
                left_s = min(left_s, max(0, tried_at + timeout_ms / 1000 - self._loop.time()))
            await asyncio.sleep(left_s)
            self._expire(error)

    def _expire(self, cause: SluiceError) -> None:
        for batch in self._queue.expired(self._loop.time()):
            batch.reject(self._timed_out(cause))

    def _timed_out(self, cause: SluiceError | None) -> SluiceError:
        text = f"the batch was tried for {self.settings.retry_timeout_ms} ms"
        error = SluiceError(text, code=StatusCode.DEADLINE_EXCEEDED)
        error.__cause__ = cause
        return error
