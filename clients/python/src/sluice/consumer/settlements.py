"""Requests that settle messages, and their results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable

from ..v1 import AcknowledgeResponse, ConsumeRequest, OffsetRange, Settlement

Settled = tuple[int, int, int]
"""Partition, first and last offset."""
MAX_ACKS = 10_000
"""Ranges that the broker takes in one request."""
MAX_OTHERS = 1_000
"""Other outcomes in one request: each may have a reason of 1,000 characters, and few MiB are read."""


class SettlementRequest:
    """One request, from its making to its answer."""

    __slots__ = ("_dropped", "_event", "_stale", "is_answered", "on_answer", "request_id", "was_lost")

    def __init__(self) -> None:
        self.request_id = 0
        self.is_answered = False
        self.was_lost = False
        """The stream broke before the answer came: the result is unknown."""
        self._stale: list[Settled] = []
        self._dropped: list[Settled] = []
        """Taken back by the broker before the request was made."""
        self._event: asyncio.Event | None = None
        self.on_answer: list[Callable[[], None]] = []

    def answer(self, result: AcknowledgeResponse) -> None:
        self._stale = [(r.partition, r.first_offset, r.last_offset) for r in result.stale]
        self._finish()

    def drop(self, ranges: Iterable[Settled]) -> None:
        """What is in these is not sent: it would settle the next delivery of the message."""
        self._dropped += ranges
        if self._event is not None:
            self._event.set()
            self._event = None

    def lose(self) -> None:
        self.was_lost = True
        self._finish()

    def _finish(self) -> None:
        self.is_answered = True
        if self._event is not None:
            self._event.set()
        for call in self.on_answer:
            call()

    async def wait(self) -> None:
        """Waits until the request is answered, or one of its settlements is dropped."""
        if self.is_answered:
            return
        if self._event is None:
            self._event = asyncio.Event()
        await self._event.wait()

    def has_settled(self, partition: int, offset: int) -> bool:
        """Durably, once it is answered."""
        if self.was_lost:
            return False
        return not (is_in(self._stale, partition, offset) or self.has_dropped(partition, offset))

    def has_dropped(self, partition: int, offset: int) -> bool:
        return is_in(self._dropped, partition, offset)


def is_in(ranges: Iterable[Settled], partition: int, offset: int) -> bool:
    return any(p == partition and first <= offset <= last for p, first, last in ranges)


class SettlementResult:
    """
    The result of a settlement: True when the settlement is durable; False if the lease was over, or if the stream broke
    before the answer. Then the broker delivers the message again. It need not be awaited.
    """

    __slots__ = ("_offset", "_partition", "_request")

    def __init__(self, request: SettlementRequest | None, partition: int, offset: int) -> None:
        self._request = request
        self._partition = partition
        self._offset = offset

    def __await__(self) -> Generator[object, None, bool]:
        request = self._request
        if request is None:
            return False
        while not (request.is_answered or request.has_dropped(self._partition, self._offset)):
            yield from request.wait().__await__()
        return request.has_settled(self._partition, self._offset)


NOTHING_SETTLED = SettlementResult(None, 0, 0)
"""Of a message that is not held any more."""


def encode_acks(request_id: int, last_delivery_id: int, ranges: Iterable[Settled]) -> bytes:
    """A request with only acknowledgements, which the broker handles faster."""
    request = ConsumeRequest(settlement_id=request_id, last_delivery_id=last_delivery_id)
    for partition, first, last in ranges:
        offsets = OffsetRange(partition=partition, first_offset=first, last_offset=last)
        request.settlements.add(offsets=offsets, ack=Settlement.Ack())
    return request.SerializeToString()


def settlement(partition: int, first: int, last: int) -> Settlement:
    """Without an outcome yet."""
    return Settlement(offsets=OffsetRange(partition=partition, first_offset=first, last_offset=last))
