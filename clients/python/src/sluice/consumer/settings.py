"""Settings of a consumer."""

from __future__ import annotations

import os
import socket
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import datetime
from typing import Literal

from ..connection import MIB
from ..seconds import set_seconds
from ..v1 import StartPosition
from ..wire import to_nanoseconds


@dataclass(frozen=True)
class ConsumerSettings:
    """Settings of a consumer. All except the topic and the subscription have a default. Times are in seconds."""

    topic: str
    subscription: str
    """A durable name. Consumers of one subscription share its messages."""
    _: KW_ONLY
    consumer_id: str = field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}"[:200])
    """A name that ListConsumers shows. Default: host and process."""
    start: Literal["earliest", "latest"] | datetime | StartPosition = "earliest"
    """Where the subscription begins, if this consumer creates it. A time means the first message at or after it."""
    max_outstanding_messages: int = 10_000
    """
    The maximum of the message credit. It begins with 16, or twice the concurrency if that is more. It doubles while the
    consumer keeps up, and follows the speed of processing: the messages of about a second.
    """
    max_outstanding_bytes: int = 16 * MIB
    concurrency: int = 1
    """Number of parallel handlers. They keep the ordering of the subscription: by partition, by key, or none."""
    ack_interval: float = 0.005
    """The client gathers acknowledgements for this time and sends them as ranges."""
    extend_leases: bool = True
    """Whether the client extends leases, each third of the lease time."""
    drain_timeout: float = 30.0
    """How long `close` waits for handlers."""
    retry_min_backoff: float = 0.05
    """Pause before a broken stream is opened again; it doubles, with jitter,"""
    retry_max_backoff: float = 5.0
    """up to this. If the broker asks for a longer pause, the client uses that pause."""
    # Names of the previous version.
    ack_interval_ms: InitVar[float | None] = None
    drain_timeout_ms: InitVar[float | None] = None
    retry_min_backoff_ms: InitVar[float | None] = None
    retry_max_backoff_ms: InitVar[float | None] = None

    def __post_init__(
        self,
        ack_interval_ms: float | None,
        drain_timeout_ms: float | None,
        retry_min_backoff_ms: float | None,
        retry_max_backoff_ms: float | None,
    ) -> None:
        given = {
            "ack_interval": ack_interval_ms,
            "drain_timeout": drain_timeout_ms,
            "retry_min_backoff": retry_min_backoff_ms,
            "retry_max_backoff": retry_max_backoff_ms,
        }
        # The caller of `Client.consumer`.
        set_seconds(self, given, stack_level=4)
        for name in ("max_outstanding_messages", "max_outstanding_bytes", "concurrency"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")

    @property
    def start_position(self) -> StartPosition:
        start = self.start
        if isinstance(start, StartPosition):
            return start
        position = StartPosition()
        if isinstance(start, datetime):
            position.time.FromNanoseconds(to_nanoseconds(start))
        elif start == "latest":
            position.boundary = StartPosition.BOUNDARY_LATEST
        else:
            position.boundary = StartPosition.BOUNDARY_EARLIEST
        return position
