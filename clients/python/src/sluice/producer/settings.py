"""Settings of a producer."""

from __future__ import annotations

import uuid
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Literal

from ..connection import KIB, MIB
from ..seconds import set_seconds


@dataclass(frozen=True)
class ProducerSettings:
    """Settings of a producer. All except the topic have a default. Times are in seconds."""

    topic: str
    _: KW_ONLY
    partition: int | None = None
    """Sends all messages to this partition. Default: by the hash of the key; messages without a key are spread."""
    producer_id: str = field(default_factory=lambda: f"producer-{uuid.uuid4()}")
    """
    The name of the producer. With a fixed name, a restarted process continues where the last process ended
    (`last_sequence` is the number of its durable messages). Opening claims the name: from then on, the broker stores no
    messages of older processes of the name, and their sends fail with PRODUCER_FENCED. Default: a random name.
    """
    batch_max_bytes: int = 64 * KIB
    """The client sends a batch when it is about this large,"""
    batch_max_messages: int = 1_000
    """or has this many messages,"""
    linger: float = 0.001
    """or its first message has waited this long."""
    max_in_flight: int = 8
    """Number of sent batches without a receipt. Messages behind them gather in larger batches."""
    buffer_max_bytes: int = 16 * MIB
    """Approximate size of all messages that were handed over and have no receipt."""
    when_full: Literal["wait", "fail"] = "wait"
    """What `send` does while the buffer is full: the message waits, or fails with BUFFER_FULL."""
    retry_timeout: float | None = None
    """
    How long the client tries a message, counted from `send` (± 1 s), whatever the broker does. Then the message fails
    with RETRY_TIMEOUT (the broker may have stored it), and later messages continue. Opening and `close` take no longer.
    Default: no limit, and 10 s for opening.
    """
    retry_min_backoff: float = 0.05
    """Pause before the first retry; it doubles, with jitter,"""
    retry_max_backoff: float = 5.0
    """up to this. If the broker asks for a longer pause, the client uses that pause."""
    # Names of the previous version.
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
