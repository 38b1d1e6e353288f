"""Runs handlers, with a task for each busy lane and not for each message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from .delivery import HELD, Delivery
from .lane import Lane
from .lanes import Lanes

logger = logging.getLogger(__name__)
Handler = Callable[[Delivery], Awaitable[None]]
SLICE_S = 0.005
"""How long handlers that never wait for anything may keep the event loop from all else."""


class Workers:
    """At most `concurrency` handlers at once, over all lanes. A worker ends when nothing is ready."""

    def __init__(self, lanes: Lanes, concurrency: int, handler: Handler) -> None:
        self._lanes = lanes
        self._concurrency = concurrency
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._working_count = 0
        self._is_stopping = False
        self._is_cancelling = False

    @property
    def is_current(self) -> bool:
        """Whether the caller is a handler."""
        return asyncio.current_task() in self._tasks

    @property
    def can_take_more(self) -> bool:
        return self._working_count < self._concurrency

    def wake(self) -> None:
        """A lane may be ready."""
        for _ in range(min(self._lanes.ready_count, self._concurrency - self._working_count)):
            self._working_count += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def begin_to_stop(self) -> None:
        """No handler begins any more."""
        self._is_stopping = True

    async def stop(self, timeout_s: float) -> None:
        """Begins no more handlers, waits for the running ones, and cancels those that take longer."""
        self.begin_to_stop()
        others = self._tasks - {asyncio.current_task()}
        if others and timeout_s > 0:
            await asyncio.wait(others, timeout=timeout_s)
        self._is_cancelling = True
        others = self._tasks - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)

    async def _work(self) -> None:
        try:
            while not self._is_stopping and (lane := self._lanes.take()) is not None:
                try:
                    await self._work_on(lane)
                finally:
                    self._lanes.release(lane)
        finally:
            self._working_count -= 1

    async def _work_on(self, lane: Lane[Delivery]) -> None:
        """As long as the lane has messages and may go on, for a slice of time."""
        handler, queue = self._handler, lane.queue
        slice_end = monotonic() + SLICE_S
        while queue and not lane.pause_count and not self._is_stopping:
            delivery = queue.popleft()
            if delivery.state != HELD:
                continue
            try:
                await handler(delivery)
            except Exception as error:
                logger.warning("the handler of %r failed", delivery, exc_info=True)
                delivery.nack(reason=str(error) or type(error).__name__)
            except asyncio.CancelledError:
                if self._is_cancelling:
                    raise
                delivery.nack(reason="the handler was cancelled")
            else:
                if delivery.state == HELD:
                    delivery.session.ack(delivery)
            if monotonic() >= slice_end:
                await asyncio.sleep(0)
                return
