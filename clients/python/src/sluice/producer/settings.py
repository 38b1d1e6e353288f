"""What can be set of a producer."""

from __future__ import annotations

import uuid
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Literal

from ..connection import KIB, MIB
from ..seconds import set_seconds


@dataclass(frozen=True)
class ProducerSettings:
    """Settings of a producer. Every one but the topic has a default. Times are in seconds."""

    topic: str
    _: KW_ONLY
    partition: int | None = None
    """All messages go to this one. Default: by the hash of their key, or spread where they have none."""
    producer_id: str = field(default_factory=lambda: f"producer-{uuid.uuid4()}")
    """
    Who produces. With a name of its own a restarted process goes on where the last one ended (`last_sequence` says how
    many of its messages are durable). Opening claims the name: from then on an older process of the name stores nothing
    more, and its sends fail with PRODUCER_FENCED. Default: a random one.
    """
    batch_max_bytes: int = 64 * KIB
    """A batch goes when it is about this large,"""
    batch_max_messages: int = 1_000
    """or has so many messages,"""
    linger: float = 0.001
    """or its first message has waited so long."""
    max_in_flight: int = 8
    """Batches that were sent and have no receipt yet. What waits behind them gathers in larger batches."""
    buffer_max_bytes: int = 16 * MIB
    """Messages that were handed over and have no receipt yet, about."""
    when_full: Literal["wait", "fail"] = "wait"
    """What `send` does while the buffer is full: the message waits, or fails with BUFFER_FULL."""
    retry_timeout: float | None = None
    """
    How long a message is tried, from when it was handed over (± 1 s), whatever the broker does; after it, it fails with
    RETRY_TIMEOUT (it may be stored all the same), and what is behind it goes on. Opening and `close` take no longer,
    either. Default: for ever, and 10 s for opening.
    """
    retry_min_backoff: float = 0.05
    """Pause before the first retry; it doubles, with jitter,"""
    retry_max_backoff: float = 5.0
    """up to this. A longer pause that the broker asks for counts."""
    # Of the version before.
    linger_ms: InitVar[float | None] = None
    retry_timeout_ms: InitVar[float | None] = None
    retry_min_backoff_ms: InitVar[float | None] = None
    retry_max_backoff_ms: InitVar[float | None] = None

    def __post_init__(
        self,
        linger_ms: float | None,
        retry_timeout_ms: float | None,
        retry_min_backoff_ms: float | None,
        retry_max_backoff_ms: float | None,
    ) -> None:
        given = {
            "linger": linger_ms,
            "retry_timeout": retry_timeout_ms,
            "retry_min_backoff": retry_min_backoff_ms,
            "retry_max_backoff": retry_max_backoff_ms,
        }
        # The caller of `Client.producer`.
        set_seconds(self, given, stack_level=4)
        for name in ("batch_max_bytes", "batch_max_messages", "max_in_flight", "buffer_max_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.when_full not in ("wait", "fail"):
            raise ValueError('when_full must be "wait" or "fail"')
