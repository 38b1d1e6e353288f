"""The consumer: see `Consumer`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from types import TracebackType

from ..backoff import Backoff
from ..calls import Calls
from ..errors import SluiceError, StatusCode
from ..v1.reasons import ErrorReason
from .credit import Credit
from .delivery import Delivery
from .lanes import Lanes
from .opening import Opening, open_session
from .session import Session
from .settings import ConsumerSettings
from .workers import SLICE_S, Workers

logger = logging.getLogger(__name__)
FINAL_CODES = {
    StatusCode.NOT_FOUND,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.INVALID_ARGUMENT,
    StatusCode.PERMISSION_DENIED,
    StatusCode.UNAUTHENTICATED,
    StatusCode.UNIMPLEMENTED,
}
LEAVE_TIMEOUT_S = 10.0
"""How long a broker may take to answer the last settlements and to end the stream,"""
CANCEL_TIMEOUT_S = 1.0
"""and how long when `run` was cancelled: the caller wants to end soon."""


class Consumer:
    """
    Receives the messages of one subscription, in its order. When the stream breaks, the consumer opens it again.
    Made by `Client.consumer`. Either `run` a handler, or iterate: `async for delivery in consumer`.
    """

    def __init__(self, calls: Calls, settings: ConsumerSettings) -> None:
        self.settings = settings
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._lanes = Lanes()
        self._credit = Credit(settings.max_outstanding_messages, settings.concurrency, self._loop.time())
        self._workers: Workers | None = None
        self._session: Session | None = None
        self._opening: Opening | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._error: SluiceError | None = None
        """The error that ended the consumer, if it was not closed."""
        self._news = asyncio.Event()
        """For the iterator: there is something to look at."""
        self._waiting_count = 0
        """Callers that iterate and wait for a message."""
        self._slice_end = 0.0

    # --- Handlers -----------------------------------------------------------------------------------------------

    async def run(self, handler: Callable[[Delivery], Awaitable[None]]) -> None:
        """
        Calls the handler for each message until `close`. When the handler returns, the client acknowledges the message.
        When it raises, the client nacks the message with the text of the exception. A handler may settle the message
        itself. Raises the SluiceError that ended the consumer. Cancelling this call cancels the handlers; their
        messages are free for other consumers, and no attempt is counted.
        """
        if self._task is not None:
            raise RuntimeError("this consumer is in use already")
        self._workers = Workers(self._lanes, self.settings.concurrency, handler)
        self._start()
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            await self._close(0, CANCEL_TIMEOUT_S)
            raise
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        if self._task is None and self._closing is None:
            name = f"sluice consumer of {self.settings.topic}/{self.settings.subscription}"
            self._task = asyncio.create_task(self._receive(), name=name)

    def _arrived(self) -> None:
        """Messages have arrived, or a lane continues."""
        if self._workers is not None:
            self._workers.wake()
        else:
            self._news.set()

    def _can_take_more(self) -> bool:
        return self._waiting_count > 0 if self._workers is None else self._workers.can_take_more

    # --- Iterating ----------------------------------------------------------------------------------------------

    def __aiter__(self) -> Consumer:
        """
        The caller settles each delivery. After a nack, no message of the same partition (or key) comes before the
        broker has answered. Ends after `close`. Raises the SluiceError that ended the consumer.
        """
        if self._workers is not None:
            raise RuntimeError("this consumer runs a handler")
        self._start()
        return self

    async def __anext__(self) -> Delivery:
        # A caller that never waits must not block the other tasks of the event loop.
        if monotonic() >= self._slice_end:
            await asyncio.sleep(0)
            self._slice_end = monotonic() + SLICE_S
        while True:
            delivery = self._next_delivery()
            if delivery is not None:
                return delivery
            if self._error is not None:
                raise self._error
            if self._closing is not None:
                raise StopAsyncIteration
            self._news.clear()
            if self._session is not None:
                self._session.feed()
            self._waiting_count += 1
            try:
                await self._news.wait()
            finally:
                self._waiting_count -= 1

    def _next_delivery(self) -> Delivery | None:
        while (lane := self._lanes.take()) is not None:
            delivery = lane.queue.popleft()
            self._lanes.release(lane)
            if delivery.is_held:
                return delivery
        return None

    # --- Streams ------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Opens one stream after another, until the consumer is closed or has ended."""
        backoff = Backoff(self.settings.retry_min_backoff, self.settings.retry_max_backoff)
        try:
            while self._closing is None:
                try:
                    await self._consume(backoff)
                    error = SluiceError("the broker has ended the stream", code=StatusCode.UNAVAILABLE)
                except SluiceError as thrown:
                    error = thrown
                if self._closing is not None:
                    return
                if error.code in FINAL_CODES and error.reason != ErrorReason.SESSION_NOT_FOUND:
                    self._error = error
                    return
                wait_s = backoff.next_s(error.retry_after)
                logger.info("%s: again in %.3f s after %s", self.settings.subscription, wait_s, error)
                self._calls.states.failed(error, wait_s)
                await asyncio.sleep(wait_s)
        except Exception as fault:
            self._error = SluiceError(f"a fault of the client: {fault!r}", code=StatusCode.INTERNAL)
            raise
        finally:
            if self._closing is None:
                await self._end()

    async def _consume(self, backoff: Backoff) -> None:
        """Consumes one stream until its end."""
        opening = self._opening = Opening()
        try:
            session = await open_session(
                self._calls, self.settings, self._lanes, self._credit, self._arrived, self._can_take_more, opening
            )
        finally:
            self._opening = None
        self._session = session
        self._calls.states.answered()
        backoff.reset()
        try:
            if self._closing is not None:
                session.drain()
            await session.read()
        finally:
            self._session = None
            session.end()

    # --- The end ------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Sends all settlements, and waits for the answers of the broker."""
        if self._session is not None:
            await self._session.flush()

    async def close(self) -> None:
        """
        Accepts no more messages, waits for running handlers (for `drain_timeout`; then cancels them), sends their
        settlements, waits for the answers, and leaves. Messages that no handler has begun are free for other consumers,
        and no attempt is counted. Idempotent. In a handler, it does not wait.
        """
        await self._close(self.settings.drain_timeout, LEAVE_TIMEOUT_S)

    async def _close(self, drain_timeout_s: float, leave_timeout_s: float) -> None:
        if self._closing is None:
            self._lanes.clear()
            if self._session is not None:
                self._session.drain()
            if self._workers is not None:
                self._workers.begin_to_stop()
            self._closing = asyncio.create_task(self._shut_down(drain_timeout_s, leave_timeout_s))
        if self._workers is None or not self._workers.is_current:
            await asyncio.shield(self._closing)

    async def _shut_down(self, drain_timeout_s: float, leave_timeout_s: float) -> None:
        if self._workers is not None:
            await self._workers.stop(drain_timeout_s)
        if self._task is not None:
            if self._session is not None:
                await self._leave(self._session, self._task, leave_timeout_s)
            elif self._opening is not None:
                await self._opening.leave()
                await asyncio.wait([self._task], timeout=leave_timeout_s)
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._end()

    async def _leave(self, session: Session, task: asyncio.Task[None], timeout_s: float) -> None:
        leaving = asyncio.create_task(session.leave())
        # If the stream breaks meanwhile, the task and the session end.
        await asyncio.wait([leaving], timeout=timeout_s)
        leaving.cancel()
        await asyncio.wait([task], timeout=timeout_s)

    async def _end(self) -> None:
        if self._workers is not None:
            await self._workers.stop(self.settings.drain_timeout)
        self._ended.set()
        self._news.set()

    async def __aenter__(self) -> Consumer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
