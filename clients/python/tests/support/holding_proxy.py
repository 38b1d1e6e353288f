"""A proxy that can go silent: connections stay open, and what is written into them goes nowhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.support.waiting import within


class Joint:
    """Two connections that are one: from a client, and to the broker."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter, *, is_silent: bool) -> None:
        self.near = near
        self.far = far
        self.held: list[bytes] | None = [] if is_silent else None
        """What the client has sent; None while it goes on at once."""
        self.is_swallowing = is_silent
        """What the broker answers is thrown away."""


class HoldingProxy:
    def __init__(self, target: str) -> None:
        self._host, port = target.rsplit(":", 1)
        self._port = int(port)
        self.address = ""
        self.silent_count = 0
        """So many connections that come are silent from their first byte."""
        self.first_answer_after_s = 0.0
        """How long the broker's first bytes take, on each connection."""
        self._joints: list[Joint] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def held_bytes(self) -> int:
        return sum(len(data) for joint in self._joints for data in joint.held or [])

    def hold(self) -> None:
        """Holds what clients send over the connections that there are, and swallows what the broker answers."""
        self.swallow_answers()
        for joint in self._joints:
            joint.held = joint.held or []

    def swallow_answers(self) -> None:
        for joint in self._joints:
            joint.is_swallowing = True

    def abandon(self) -> None:
        """The clients' ends of silent connections break; those to the broker stay."""
        for joint in self._joints:
            if joint.is_swallowing:
                joint.near.transport.abort()

    async def release(self) -> None:
        """Lets the broker have what was held, in order; returns when it has read that and closed the connection."""
        for joint in self._joints:
            if joint.held is not None:
                joint.far.writelines(joint.held)
                joint.far.write_eof()
        await within(self._silent_ones_closed())

    async def _silent_ones_closed(self) -> None:
        for joint in self._joints:
            if joint.held is not None:
                with contextlib.suppress(ConnectionError):
                    await joint.far.wait_closed()

    async def connected(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_reader, far = await asyncio.open_connection(self._host, self._port)
        joint = Joint(near, far, is_silent=self.silent_count > 0)
        self.silent_count = max(0, self.silent_count - 1)
        self._joints.append(joint)
        await asyncio.gather(self._to_broker(reader, joint), self._to_client(far_reader, joint))

    async def _to_broker(self, reader: asyncio.StreamReader, joint: Joint) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if joint.held is None:
                    joint.far.write(data)
                else:
                    joint.held.append(data)
        # A client that gives a silent connection up does not reach the broker.
        if not joint.is_swallowing:
            joint.far.close()

    async def _to_client(self, reader: asyncio.StreamReader, joint: Joint) -> None:
        with contextlib.suppress(ConnectionError):
            await asyncio.sleep(self.first_answer_after_s)
            while data := await reader.read(65_536):
                if not joint.is_swallowing:
                    joint.near.write(data)
        joint.far.close()
        joint.near.close()

    async def stop(self) -> None:
        for joint in self._joints:
            joint.near.transport.abort()
            joint.far.transport.abort()
        if self._tasks:
            await within(asyncio.wait(self._tasks))


@contextlib.asynccontextmanager
async def holding_proxy(target: str) -> AsyncIterator[HoldingProxy]:
    proxy = HoldingProxy(target)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
