"""The state of the connection to a broker, derived from its calls and its channel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import grpc
import grpc.aio

from .errors import SluiceError, StatusCode
from .seconds import warn_of_ms

logger = logging.getLogger("sluice")
PROBE_TIMEOUT_S = 2.0

CODES = {
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.CANCELLED,
    StatusCode.UNKNOWN,
    StatusCode.INTERNAL,
}
REASONS = {"TOO_MANY_STREAMS", "TOO_MANY_OPENS", "TOO_MANY_CONNECTIONS", "RESOURCE_EXHAUSTED"}
"""Codes and reasons that say something of the connection, and not of one topic or one request."""


@dataclass(frozen=True)
class ConnectionState:
    """The state of the connection to a broker."""

    kind: Literal["connecting", "ready", "waiting", "closed"]
    """
    `connecting`: a connection is being made. `ready`: the broker answers. `waiting`: the last attempt failed, or the
    connection was lost. `closed`: the client is closed.
    """
    cause: str = ""
    """Of `waiting`, in plain words."""
    error: SluiceError | None = None
    """What a call failed with, if one did."""
    next_attempt_in: float | None = None
    """When the next attempt comes, in seconds from now; None: with the next call."""

    @property
    def next_attempt_in_ms(self) -> float | None:
        """Deprecated: `next_attempt_in`, in milliseconds."""
        warn_of_ms("next_attempt_in")
        return None if self.next_attempt_in is None else self.next_attempt_in * 1000


Listener = Callable[[ConnectionState], None]


class ConnectionStates:
    """Reports each change of the state to a listener and to the logger `sluice`."""

    def __init__(self, target: str, *, has_tls: bool, listener: Listener | None) -> None:
        self._target = re.sub(r"^dns:(//[^/]*/)?", "", target)
        self._has_tls = has_tls
        self._listener = listener
        self._state: ConnectionState | None = None
        self._watching: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[str | None] | None = None
        self._waiting_for_probe: set[asyncio.Task[None]] = set()

    def watch(self, channel: grpc.aio.Channel) -> None:
        """Called before each call: the channel connects with the first one."""
        if self._watching is None and self._kind != "closed":
            self._change(ConnectionState("connecting"))
            self._watching = asyncio.create_task(self._watch(channel), name="sluice connection")

    async def _watch(self, channel: grpc.aio.Channel) -> None:
        last = grpc.ChannelConnectivity.IDLE
        # The channel ends the wait when it is closed, with whatever its library has for that.
        with contextlib.suppress(Exception):
            while True:
                state = channel.get_state()
                if state != last:
                    self._changed(last, state)
                    last = state
                await channel.wait_for_state_change(last)

    def _changed(self, last: grpc.ChannelConnectivity, state: grpc.ChannelConnectivity) -> None:
        if state == grpc.ChannelConnectivity.READY:
            self.answered()
        elif last == grpc.ChannelConnectivity.READY:
            self._wait(f"the connection to {self._target} was lost", None, None)
        if state == grpc.ChannelConnectivity.CONNECTING:
            self._change(ConnectionState("connecting"))

    @property
    def _kind(self) -> str | None:
        return None if self._state is None else self._state.kind

    def answered(self) -> None:
        """The channel is connected, or the broker has answered a call."""
        if self._kind == "ready":
            return
        self._probing = None
        self._change(ConnectionState("ready"))

    def failed(self, error: SluiceError, next_attempt_in: float | None) -> None:
        """A call has failed; the delay is None if the client does not try the call again."""
        if error.code not in CODES and error.reason not in REASONS:
            return
        cause = cause_of(error.message, self._target)
        is_unexplained = cause is None and error.message.startswith("failed to connect") and not self._has_tls
        if not is_unexplained:
            self._wait(cause or error.message, error, next_attempt_in)
            return
        if self._probing is None:
            self._probing = asyncio.create_task(probe(self._target))
        task = asyncio.create_task(self._wait_probed(self._probing, error, next_attempt_in))
        self._waiting_for_probe.add(task)
        task.add_done_callback(self._waiting_for_probe.discard)

    async def _wait_probed(
        self, probing: asyncio.Task[str | None], error: SluiceError, next_attempt_in: float | None
    ) -> None:
        """A peer that closes the connection without sending anything may speak TLS."""
        cause = await probing
        # Otherwise the broker has answered meanwhile.
        if self._probing is probing:
            self._wait(cause or error.message, error, next_attempt_in)

    async def close(self) -> None:
        self._change(ConnectionState("closed"))
        tasks = [task for task in (self._watching, self._probing, *self._waiting_for_probe) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _wait(self, cause: str, error: SluiceError | None, next_attempt_in: float | None) -> None:
        last = self._state
        if next_attempt_in is None and last is not None and (last.kind, last.cause) == ("waiting", cause):
            return
        self._change(ConnectionState("waiting", cause, error, next_attempt_in))

    def _change(self, state: ConnectionState) -> None:
        last = self._state
        if last is not None and (last.kind == "closed" or (last.kind == state.kind and state.kind != "waiting")):
            return
        self._state = state
        if state.kind == "waiting":
            when = "" if state.next_attempt_in is None else f"; next attempt in {state.next_attempt_in:.3f} s"
            # A repeated cause is logged as a warning only once.
            is_news = last is None or last.cause != state.cause
            logger.log(logging.WARNING if is_news else logging.INFO, "%s: %s%s", self._target, state.cause, when)
        else:
            logger.info("%s: %s", self._target, state.kind)
        if self._listener is not None:
            self._listener(state)


def cause_of(message: str, target: str) -> str | None:
    """Translates an error text of the library into a cause; None if the text has none."""
    if "Connection refused" in message:
        return f"nothing listens at {target}"
    if re.search("DNS resolution failed|Domain name not found", message):
        return f"the name {re.sub(r':[0-9]+$', '', target)} cannot be resolved"
    if re.search("WRONG_VERSION_NUMBER|HTTP_REQUEST", message):
        return f"the broker at {target} does not speak TLS"
    untrusted = re.search(r"CERTIFICATE_VERIFY_FAILED:? ?(.*)|(Peer name .* is not in peer certificate.*)", message)
    if untrusted is not None:
        return f"the broker's certificate is not trusted: {untrusted[1] or untrusted[2] or message}"
    if re.search("timed out|Timeout occurred|Deadline Exceeded", message, re.IGNORECASE) and "ping" not in message:
        return f"{target} does not answer"
    is_attempt = message.startswith("failed to connect")
    if re.search("ping timeout|keepalive|Socket closed|reset by peer|recvmsg|Broken pipe|GOAWAY", message):
        return None if is_attempt else f"the connection to {target} was lost"
    return None


async def probe(target: str) -> str | None:
    """Probes whether a peer that does not speak HTTP/2 in plaintext speaks TLS."""
    found = re.fullmatch(r"\[?(.*?)\]?:(\d+)", target)
    if found is None:
        return None
    # The probe sends no data, so the certificate does not matter.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        opening = asyncio.open_connection(found[1], int(found[2]), ssl=context)
        _, writer = await asyncio.wait_for(opening, PROBE_TIMEOUT_S)
    except (OSError, asyncio.TimeoutError):
        return None
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return f"the broker at {target} speaks TLS, and this client does not"
