"""A real broker: `sluice serve` as a child process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
# Another build of the broker can be tested with the same client.
CLI = os.environ.get("BROKER_CLI", str(ROOT / "dist/src/cli/main.js"))
START_LIMIT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


running: set[asyncio.subprocess.Process] = set()


@atexit.register
def kill_what_is_left() -> None:
    """Whatever ended the tests."""
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


class Broker:
    """On a port and a data directory of its own, which stay the same over restarts."""

    def __init__(self, *args: str) -> None:
        self._args = args
        self._directory = tempfile.mkdtemp(prefix="sluice-python-")
        self.address = f"127.0.0.1:{free_port()}"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.log: deque[str] = deque(maxlen=200)

    async def start(self) -> Broker:
        """Returns when it serves."""
        command = ["node", CLI, "serve", "--listen", self.address, "--data-dir", self._directory, *self._args]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        self._process = await asyncio.create_subprocess_exec(
            *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        running.add(self._process)
        serving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(self._process, serving))
        await asyncio.wait_for(serving, START_LIMIT_S)
        return self

    async def _read(self, process: asyncio.subprocess.Process, serving: asyncio.Future[None]) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            self.log.append(text)
            if not serving.done() and is_serving(text):
                serving.set_result(None)
        if not serving.done():
            serving.set_exception(RuntimeError("the broker ended before it served\n" + "\n".join(self.log)))

    async def kill(self) -> None:
        """kill -9, and waits until the process is gone."""
        if self._process is None or self._reading is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading
        running.discard(self._process)
        self._process = None

    def stop(self) -> None:
        """The process stands still; its connections stay."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def dispose(self) -> None:
        await self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def is_serving(line: str) -> bool:
    # A process that was killed leaves half a line.
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        return isinstance(entry, dict) and "serving" in (entry.get("msg"), entry.get("message"))
    return False
