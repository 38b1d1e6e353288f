"""How to reach a broker."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import grpc.aio

KIB = 1024
MIB = 1024 * KIB

MetadataSource: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""Sent with every call: a value, or what is called for each call, for tokens that are renewed."""


@dataclass(frozen=True)
class Tls:
    """The certificates of a TLS connection, in PEM. By default, the client trusts the authorities of the system."""

    ca: bytes | None = None
    """Who has signed the broker's certificate."""
    cert: bytes | None = None
    """The client's own certificate, where the broker asks for one, and its key."""
    key: bytes | None = None
    server_name: str | None = None
    """The name that the broker's certificate carries, if it is not that of the target."""


def channel_options(
    target: str, *, tls: Tls | None, window_bytes: int, max_receive_bytes: int
) -> list[tuple[str, str | int]]:
    options: list[tuple[str, str | int]] = [
        ("grpc.http2.lookahead_bytes", window_bytes),
        ("grpc.max_receive_message_length", max_receive_bytes),
        ("grpc.max_send_message_length", -1),
        # Connections are not shared with other clients of this process, so that their windows and ends are their own.
        ("grpc.use_local_subchannel_pool", 1),
        # Producers and consumers have a backoff of their own: the channel's must not add to it.
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # This is how long one attempt may take, whatever its name says: a busy broker must have time to answer.
        ("grpc.min_reconnect_backoff_ms", 20_000),
        # The client gives up a connection that was lost without a reset after 30 seconds, also while no call is open.
        # A connection without calls is kept, and does not become idle.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.client_idle_timeout_ms", 2**31 - 1),
    ]
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
        options.append(("grpc.default_authority", tls.server_name))
    # A proxy can't reach this machine's own loopback address.
    if re.fullmatch(r"(dns:(///)?)?(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", target):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def open_channel(target: str, *, tls: bool | Tls, window_bytes: int, max_receive_bytes: int) -> grpc.aio.Channel:
    settings = Tls() if tls is True else tls or None
    options = channel_options(target, tls=settings, window_bytes=window_bytes, max_receive_bytes=max_receive_bytes)
    if settings is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(settings.ca, settings.key, settings.cert)
    return grpc.aio.secure_channel(target, credentials, options=options)
