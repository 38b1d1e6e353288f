"""Tests wait for what happens, never for a time: limits are only there for tests that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sized
from typing import TypeVar

T = TypeVar("T")
LIMIT_S = 60.0


async def within(what: Awaitable[T], limit_s: float = LIMIT_S) -> T:
    return await asyncio.wait_for(what, limit_s)


async def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Polls for a condition without an event."""

    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await within(poll(), limit_s)


async def until_there_are(count: int, what: Sized) -> None:
    await until(lambda: len(what) >= count)


async def until_progress_ends(condition: Callable[[], bool], progress: Callable[[], int], limit_s: float = 60) -> None:
    """For work that takes as long as a busy machine needs: fails only when nothing has moved for so long."""
    last, loop = -1, asyncio.get_running_loop()
    moved_at = loop.time()
    while not condition():
        if (now := progress()) != last:
            last, moved_at = now, loop.time()
        assert loop.time() < moved_at + limit_s, f"nothing moves behind {last}"
        await asyncio.sleep(0.005)
