"""Deliveries: messages that are leased to a consumer."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol

from ..seconds import seconds_of
from ..v1 import Message, MessageRun
from ..wire import to_datetime
from .lane import Lane
from .settlements import NOTHING_SETTLED, SettlementResult

HELD, SETTLED, REVOKED = 0, 1, 2


class Lender(Protocol):
    """The session to which a message is leased."""

    topic: str

    def ack(self, delivery: Delivery) -> SettlementResult: ...
    def nack(self, delivery: Delivery, delay_s: float | None, reason: str) -> SettlementResult: ...
    def extend(self, delivery: Delivery, by_s: float | None) -> SettlementResult: ...
    def dead_letter(self, delivery: Delivery, reason: str) -> SettlementResult: ...


class Delivery:
    """
    A message that is leased to this consumer until it is settled. The first settlement counts, and later ones have no
    effect. The methods that settle act in the background. Await the result to know whether the settlement is durable.
    """

    __slots__ = ("_message", "_revoked", "_run", "lane", "offset", "partition", "session", "state")

    lane: Lane[Delivery]

    def __init__(self, session: Lender, run: MessageRun, partition: int, offset: int, message: Message) -> None:
        self.session = session
        self._run = run
        self.partition = partition
        self.offset = offset
        self._message = message
        self.state = HELD
        self._revoked: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Delivery of {self.topic!r}, partition {self.partition}, offset {self.offset}>"

    @property
    def topic(self) -> str:
        return self.session.topic

    @property
    def payload(self) -> bytes:
        return self._message.payload

    @property
    def key(self) -> bytes:
        """Empty if the message has none."""
        return self._message.key

    @property
    def headers(self) -> dict[str, str]:
        """A copy. To continue a trace, read `traceparent`, if the producer has set it."""
        return dict(self._message.headers)

    @property
    def event_time(self) -> datetime | None:
        """The time of the event, by the clock of the producer."""
        nanoseconds = self.event_time_ns
        return None if nanoseconds is None else to_datetime(nanoseconds)

    @property
    def event_time_ns(self) -> int | None:
        """The time of the event, in nanoseconds since 1970."""
        message = self._message
        return message.event_time.ToNanoseconds() if message.HasField("event_time") else None

    @property
    def publish_time(self) -> datetime:
        """The time at which the broker accepted the message."""
        return to_datetime(self._run.publish_time.ToNanoseconds())

    @property
    def producer_id(self) -> str:
        """The name of the producer; empty for an anonymous producer."""
        return self._run.producer_id

    @property
    def attempt(self) -> int:
        """The number of the attempt: 1 for the first delivery, and 1 more for each failed delivery."""
        return self._run.attempt

    @property
    def is_held(self) -> bool:
        """Whether the message is neither settled nor revoked."""
        return self.state == HELD

    @property
    def is_revoked(self) -> bool:
        """
        Whether the broker took the message back, or the session ended. The broker delivers the message again.
        Settlements of this delivery have no effect.
        """
        return self.state == REVOKED

    @property
    def revoked(self) -> asyncio.Event:
        """Set when the message is revoked, so that a long handler can stop."""
        if self._revoked is None:
            self._revoked = asyncio.Event()
            if self.state == REVOKED:
                self._revoked.set()
        return self._revoked

    def revoke(self) -> None:
        """Called by the session when the message is revoked."""
        if self.state != HELD:
            return
        self.state = REVOKED
        if self._revoked is not None:
            self._revoked.set()

    def ack(self) -> SettlementResult:
        """Acknowledges the message: once this is durable, the broker does not deliver the message again."""
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.ack(self)

    def nack(self, *, delay: float | None = None, reason: str = "", delay_ms: float | None = None) -> SettlementResult:
        """Nacks the message: the broker delivers it again after the backoff, or after this delay in seconds."""
        delay = seconds_of("delay", delay, delay_ms)
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.nack(self, delay, reason)

    def extend(self, *, by: float | None = None, by_ms: float | None = None) -> SettlementResult:
        """Extends the lease: it then ends this many seconds from now (default: the lease time of the subscription)."""
        by = seconds_of("by", by, by_ms)
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.extend(self, by)

    def dead_letter(self, reason: str = "") -> SettlementResult:
        """Dead-letters the message at once, because it cannot be processed."""
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.dead_letter(self, reason)
