"""The position of a producer at the broker, and the claim of its name."""

from __future__ import annotations

import asyncio
import secrets
from typing import NamedTuple

from ..backoff import Backoff
from ..connection_state import ConnectionStates
from ..errors import SluiceError, StatusCode
from ..v1 import GetProducerRequest, GetTopicRequest, OpenProducerRequest
from ..v1.reasons import ErrorReason
from ..v1.stubs import AdminStub, BrokerStub
from .failures import is_final, is_passing
from .settings import ProducerSettings

CALL_TIMEOUT_S = 10.0
"""A broker that does not answer by then is asked again."""
OPEN_TIMEOUT_S = 10.0
"""How long opening is tried where no `retry_timeout` is set."""


class Position(NamedTuple):
    """The epoch of a producer, and the number of its last durable message."""

    epoch: int
    last_sequence: int


def new_claim_id() -> int:
    """A random number from 1 to 2^53 - 1, by which the broker recognizes a repeated call."""
    return secrets.randbelow(2**53 - 1) + 1


async def position_of(broker: BrokerStub, topic: str, producer_id: str) -> Position:
    """Asks for the position of a producer, without a claim."""
    request = GetProducerRequest(topic=topic, producer_id=producer_id)
    found = await broker.get_producer(request, timeout=CALL_TIMEOUT_S)
    return Position(found.epoch, found.last_sequence)


async def claim(
    broker: BrokerStub,
    topic: str,
    producer_id: str,
    claim_id: int,
    current_epoch: int | None = None,
    timeout: float = CALL_TIMEOUT_S,
) -> Position:
    """One attempt to claim the name of a producer. With `current_epoch`, only if that is still its epoch."""
    request = OpenProducerRequest(topic=topic, producer_id=producer_id, claim_id=claim_id, current_epoch=current_epoch)
    try:
        claimed = await broker.open_producer(request, timeout=timeout)
    except SluiceError as error:
        if error.code != StatusCode.UNIMPLEMENTED:
            raise
        text = "the broker does not know OpenProducer, by which this client claims a producer: update the broker"
        raise SluiceError(text, code=error.code) from error
    return Position(claimed.epoch, claimed.last_sequence)


async def open_position(
    broker: BrokerStub, admin: AdminStub, settings: ProducerSettings, states: ConnectionStates
) -> tuple[Position, int]:
    """Claims the name of a producer, and returns the number of partitions of its topic."""
    loop = asyncio.get_running_loop()
    until = loop.time() + (OPEN_TIMEOUT_S if settings.retry_timeout is None else settings.retry_timeout)
    backoff = Backoff(settings.retry_min_backoff, settings.retry_max_backoff)
    # The same for each attempt, because an attempt whose answer was lost may have claimed the name.
    claim_id = new_claim_id()
    last: SluiceError | None = None
    while True:
        limit_s = max(0.001, min(CALL_TIMEOUT_S, until - loop.time()))
        try:
            position = await claim(broker, settings.topic, settings.producer_id, claim_id, timeout=limit_s)
            return position, await partition_count_of(admin, settings.topic, limit_s)
        except SluiceError as error:
            wait_s = backoff.next_s(error.retry_after)
            if is_final(error) or not is_passing(error):
                raise
            # An earlier error says more than an exceeded deadline.
            if last is None or error.code != StatusCode.DEADLINE_EXCEEDED:
                last = error
            if loop.time() + wait_s >= until:
                raise last from None
            states.failed(error, wait_s)
        await asyncio.sleep(wait_s)


async def partition_count_of(admin: AdminStub, topic: str, timeout: float = CALL_TIMEOUT_S) -> int:
    """A topic that does not exist yet will have one partition."""
    try:
        found = await admin.get_topic(GetTopicRequest(name=topic), timeout=timeout)
    except SluiceError as error:
        if error.reason != ErrorReason.TOPIC_NOT_FOUND:
            raise
        return 1
    return found.topic.partition_count
