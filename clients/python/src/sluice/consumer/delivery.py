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
    """The session that a message is leased to."""

    topic: str

    def ack(self, delivery: Delivery) -> SettlementResult: ...
    def nack(self, delivery: Delivery, delay_s: float | None, reason: str) -> SettlementResult: ...
    def extend(self, delivery: Delivery, by_s: float | None) -> SettlementResult: ...
    def dead_letter(self, delivery: Delivery, reason: str) -> SettlementResult: ...


class Delivery:
    """
    A message with its place, to be settled once: the first settlement counts, and later ones have no effect. Each of
    the settling methods acts in the background; await its result to know whether it is durable.
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
        """When the event happened, by the producer's clock."""
        nanoseconds = self.event_time_ns
        return None if nanoseconds is None else to_datetime(nanoseconds)

    @property
    def event_time_ns(self) -> int | None:
        """The same in nanoseconds since 1970."""
        message = self._message
        return message.event_time.ToNanoseconds() if message.HasField("event_time") else None

    @property
    def publish_time(self) -> datetime:
        """When the broker accepted the message."""
        return to_datetime(self._run.publish_time.ToNanoseconds())

    @property
    def producer_id(self) -> str:
        """The name of the producer; empty for an anonymous producer."""
        return self._run.producer_id

    @property
    def attempt(self) -> int:
        """1 on the first delivery; grows by one with every failed delivery."""
        return self._run.attempt

    @property
    def is_held(self) -> bool:
        """Whether the message is neither settled nor revoked."""
        return self.state == HELD

    @property
    def is_revoked(self) -> bool:
        """The broker took the message back, or the session ended. It comes again; settling has no effect."""
        return self.state == REVOKED

    @property
    def revoked(self) -> asyncio.Event:
        """Set when the message is revoked, so that a long handler may stop."""
        if self._revoked is None:
            self._revoked = asyncio.Event()
            if self.state == REVOKED:
                self._revoked.set()
        return self._revoked

    def revoke(self) -> None:
        """For the session, which knows what the broker has said."""
        if self.state != HELD:
            return
        self.state = REVOKED
        if self._revoked is not None:
            self._revoked.set()

    def ack(self) -> SettlementResult:
        """Processed: once this is durable, the broker does not deliver the message again."""
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.ack(self)

    def nack(self, *, delay: float | None = None, reason: str = "", delay_ms: float | None = None) -> SettlementResult:
        """Failed: the broker delivers it again after the backoff, or after this delay in seconds."""
        delay = seconds_of("delay", delay, delay_ms)
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.nack(self, delay, reason)

    def extend(self, *, by: float | None = None, by_ms: float | None = None) -> SettlementResult:
        """Still at work: the lease ends so many seconds from now (default: the subscription's time for a message)."""
        by = seconds_of("by", by, by_ms)
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.extend(self, by)

    def dead_letter(self, reason: str = "") -> SettlementResult:
        """Hopeless: to the dead-letter topic at once."""
        if self.state != HELD:
            return NOTHING_SETTLED
        return self.session.dead_letter(self, reason)
