"""The sending side of a consumer's stream."""

from __future__ import annotations

import asyncio
from collections import deque

from ..calls import BytesStream


class RequestWriter:
    """Sends requests in order, as the transport takes them. What waits is bounded by the consumer's credit."""

    def __init__(self, stream: BytesStream) -> None:
        self._stream = stream
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._is_ending = False
        self._task = asyncio.create_task(self._run())

    def put(self, request: bytes) -> None:
        self._queue.append(request)
        self._wake.set()

    def end(self) -> None:
        """Half-closes behind what waits."""
        self._is_ending = True
        self._wake.set()

    def cancel(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            while self._queue:
                if not await self._stream.write(self._queue.popleft()):
                    return
            if self._is_ending:
                await self._stream.half_close()
                return
            await self._wake.wait()
