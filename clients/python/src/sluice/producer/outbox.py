"""The closed batches of a producer, until they are answered. Each is stored once, and in order."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..backoff import Backoff
from ..calls import BytesStream, Calls
from ..errors import SluiceError, StatusCode, from_publish_error
from ..message import Durability
from ..routing import places_of
from ..v1 import PublishStreamResponse
from ..v1.stubs import AdminStub, BrokerStub
from .batch import Batch
from .failures import Failure, fenced, is_final, is_passing, not_in_time
from .position import Position, claim, new_claim_id, partition_count_of, position_of
from .queue import SendQueue
from .settings import ProducerSettings

logger = logging.getLogger(__name__)
METHOD = "/sluice.v1.Broker/PublishStream"
MAX_EXHAUSTIONS = 5
"""So often may a batch that is alone under way be refused by something in between, before it fails."""


class Outbox:
    """
    Within an epoch, a number that was sent is never given to another message, because the first copy may still be in a
    dead connection and reach the broker later. So after a sent batch was given up or refused, the outbox renews the
    epoch before it sends the next batch. From then on, the broker refuses all batches of the old epoch.
    """

    def __init__(self, calls: Calls, settings: ProducerSettings) -> None:
        self._calls = calls
        self._settings = settings
        self._broker = BrokerStub(calls)
        self._admin = AdminStub(calls)
        self._backoff = Backoff(settings.retry_min_backoff, settings.retry_max_backoff)
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.queue = SendQueue(settings, self._ready, self._has_slot)
        self._epoch = 0
        self._must_renew = False
        """A batch that was sent in this epoch was given up or refused."""
        self._partition_count = 1
        self._stream: BytesStream | None = None
        """Over which batches go out; None while nothing does."""
        self._given_up: asyncio.Future[None] = self._loop.create_future()
        """Done when the stream is left for a batch whose time was over."""
        self._sent_count = 0
        """Of the oldest batches, how many were written to the current stream."""
        self._numbered_sequence = 0
        """Of the last message that was written to the current stream, or is known to be stored."""
        self._is_probing = False
        """A stream was refused without a word about which batch it was for: one by one, until one is stored."""
        self._is_closing = False
        self._cause: SluiceError | None = None
        """Why there is no stream."""
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def last_sequence(self) -> int:
        waiting = list(self.queue.batches)[self._sent_count :]
        return self._numbered_sequence + sum(len(batch) for batch in waiting) + self.queue.open_count

    def begin(self, position: Position, partition_count: int) -> None:
        self._epoch, self._numbered_sequence = position
        self._partition_count = partition_count

    async def run(self) -> None:
        """
        Opens one stream after another, until the producer is closed. Raises the SluiceError that ends the producer.
        """
        try:
            while True:
                try:
                    await self._run_stream()
                    return
                except Failure as failure:
                    await self._recover(failure)
        finally:
            self._stream = None
            if self._expiry is not None:
                self._expiry.cancel()

    def end_when_empty(self) -> None:
        """The producer accepts no more messages."""
        self._is_closing = True
        self._wake.set()

    def _ready(self) -> None:
        self._wake.set()

    def _has_slot(self) -> bool:
        return self._stream is not None and len(self.queue.batches) < self._most_under_way

    @property
    def _most_under_way(self) -> int:
        return 1 if self._is_probing else self._settings.max_in_flight

    # --- A stream -------------------------------------------------------------------------------------------------

    async def _run_stream(self) -> None:
        """Writes batches and reads their answers. Returns when the producer is closed, raises Failure otherwise."""
        try:
            stream = await self._calls.open_stream(METHOD)
        except SluiceError as error:
            raise Failure(error) from error
        if self._must_renew:
            # A batch that was sent before has expired while the stream was opened.
            stream.cancel()
            raise Failure(not_in_time(self._settings.retry_timeout, None))
        self._stream = stream
        self._given_up = self._loop.create_future()
        self._cause = None
        writing = asyncio.create_task(self._write(stream))
        self.queue.slot_free()
        try:
            while (response := await self._read(stream)) is not None:
                await self._answered(PublishStreamResponse.FromString(response))
                self._backoff.reset()
                self._is_probing = False
                self._wake.set()
            if not (self._is_closing and self.queue.is_empty):
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
        """The next answer. Raises Failure if the stream is given up."""
        if self._settings.retry_timeout is None:
            return await stream.read()
        reading: asyncio.Future[bytes | None] = asyncio.ensure_future(stream.read())
        given_up: asyncio.Future[Any] = self._given_up
        try:
            await asyncio.wait({reading, given_up}, return_when=asyncio.FIRST_COMPLETED)
            # An answer that was received earlier may be for another epoch.
            if given_up.done():
                raise Failure(not_in_time(self._settings.retry_timeout, None))
            return reading.result()
        finally:
            reading.cancel()

    async def _write(self, stream: BytesStream) -> None:
        try:
            await self._write_batches(stream)
        except Exception:
            # A fault: no caller may wait for an answer any more.
            stream.cancel()
            raise

    async def _write_batches(self, stream: BytesStream) -> None:
        """Sends batches in their order, as many as may be under way and as the transport accepts."""
        queue, settings = self.queue, self._settings
        while self._stream is stream:
            self._wake.clear()
            while self._stream is stream and self._sent_count < min(self._most_under_way, len(queue.batches)):
                batch = queue.batches[self._sent_count]
                self._sent_count += 1
                batch.was_sent = True
                batch.first_sequence = self._numbered_sequence + 1
                self._numbered_sequence = batch.last_sequence
                request = batch.encode(settings.topic, settings.partition, settings.producer_id, self._epoch)
                if not await stream.write(request):
                    return
            if self._is_closing and queue.is_empty:
                await stream.half_close()
                return
            await self._wake.wait()

    async def _answered(self, response: PublishStreamResponse) -> None:
        queue = self.queue
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
        if places is None and keys and self._settings.partition is None:
            # The topic has got more partitions.
            self._partition_count = await partition_count_of(self._admin, self._settings.topic)
            places = places_of(keys, ranges, self._partition_count)
            # The batch may have expired meanwhile.
            if not queue.batches or queue.batches[0] is not batch:
                return
        self._pop()
        batch.resolve(skipped, places, durability)

    def _pop(self) -> Batch:
        """The oldest batch has its answer."""
        if self._sent_count > 0:
            self._sent_count -= 1
        batch = self.queue.pop()
        if self._has_slot():
            self.queue.slot_free()
        return batch

    def _leave_stream(self) -> None:
        """Gives up the stream: no batch is sent."""
        self._stream = None
        if self._sent_count > 0:
            self._numbered_sequence = self.queue.batches[0].first_sequence - 1
        self._sent_count = 0

    # --- What comes after a failure -------------------------------------------------------------------------------

    async def _recover(self, failure: Failure) -> None:
        """
        Asks the broker for the durable position of the producer, and fails the oldest batch if it was refused finally.
        Batches can expire meanwhile. Raises the SluiceError that ends the producer.
        """
        error, queue = failure.error, self.queue
        oldest = queue.batches[0] if queue.batches else None
        # The error of a stream that was given up for an expired batch does not count.
        is_given_up = self._given_up.done()
        self._given_up = self._loop.create_future()
        refused = None if is_given_up else self._refusal(failure, oldest)
        self._leave_stream()
        if is_final(error):
            raise error
        if not is_given_up:
            self._cause = error
        # A batch that was refused or given up is no reason for a backoff.
        wait_s = 0.0 if is_given_up or refused is not None else self._failed(error)
        claim_id: int | None = None
        while True:
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            is_renewing = self._must_renew or refused is not None
            if is_renewing and claim_id is None:
                claim_id = new_claim_id()
            try:
                position = await self._ask(claim_id if is_renewing else None)
            except SluiceError as thrown:
                if is_final(thrown) or not is_passing(thrown):
                    raise
                self._cause = thrown
                wait_s = self._failed(thrown)
                continue
            self._calls.states.answered()
            if not is_renewing and position.epoch != self._epoch:
                raise fenced(self._settings.producer_id, self._epoch, position.epoch)
            self._settle_stored(position.last_sequence)
            if is_renewing:
                self._renewed(position.epoch)
                # Not if the batch was stored and only its answer was lost, or if it has expired.
                if refused is not None and queue.batches and queue.batches[0] is oldest:
                    self._pop().reject(refused)
            elif self._would_reuse(position.last_sequence):
                self._must_renew = True
                wait_s = 0
                continue
            self._numbered_sequence = position.last_sequence
            logger.info("%s: going on behind message %d", self._settings.producer_id, position.last_sequence)
            return

    async def _ask(self, claim_id: int | None) -> Position:
        """Renews the claim if there is a claim id. Otherwise only asks for the position."""
        topic, producer_id = self._settings.topic, self._settings.producer_id
        if claim_id is None:
            return await position_of(self._broker, topic, producer_id)
        return await claim(self._broker, topic, producer_id, claim_id, self._epoch)

    def _failed(self, error: SluiceError) -> float:
        """Returns the delay before the next attempt."""
        wait_s = self._backoff.next_s(error.retry_after)
        self._calls.states.failed(error, wait_s)
        return wait_s

    def _refusal(self, failure: Failure, oldest: Batch | None) -> SluiceError | None:
        """The error that refuses the oldest batch finally; None if there is none, or if it is not known yet."""
        if oldest is None or self._sent_count == 0:
            return None
        is_exhaustion = failure.is_bare_exhaustion
        if not is_exhaustion:
            oldest.exhaustion_count = 0
            if failure.is_retriable:
                return None
        # The error can be for any batch under way. If one batch was under way, the error is for this batch.
        if not failure.of_batch and self._sent_count > 1:
            self._is_probing = True
            return None
        oldest.exhaustion_count += is_exhaustion
        return None if is_exhaustion and oldest.exhaustion_count < MAX_EXHAUSTIONS else failure.error

    def _settle_stored(self, stored_sequence: int) -> None:
        """Resolves the batches that are stored up to this number, whose answers were lost."""
        batches = self.queue.batches
        while batches and batches[0].was_sent and batches[0].last_sequence <= stored_sequence:
            self._numbered_sequence = batches[0].last_sequence
            self._pop().resolve_duplicate()

    def _would_reuse(self, stored_sequence: int) -> bool:
        """Whether the next message would get another number than the number with which it was sent."""
        first = self.queue.batches[0] if self.queue.batches else None
        is_moved = first is not None and first.was_sent and first.first_sequence != stored_sequence + 1
        return self._must_renew or is_moved

    def _renewed(self, epoch: int) -> None:
        """The producer has a new epoch. From now on, the broker refuses copies of the old epoch."""
        self._epoch = epoch
        self._must_renew = False
        for batch in self.queue.batches:
            batch.was_sent = False

    # --- The time that a message has ------------------------------------------------------------------------------

    def watch_expiry(self) -> None:
        """Sets the timer of the oldest batch, which expires whatever the broker does. Called after each `send`."""
        if self._expiry is None and (at := self.queue.expires_at) is not None:
            self._expiry = self._loop.call_at(at, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now, at = self._loop.time(), self.queue.expires_at
        if at is not None and at <= now:
            batches = self.queue.batches
            if batches and batches[0].was_sent:
                self._must_renew = True
                # Before there is room for another batch on it.
                self._leave_stream()
                if not self._given_up.done():
                    self._given_up.set_result(None)
            self.queue.expire(now, not_in_time(self._settings.retry_timeout, self._cause))
        self.watch_expiry()
