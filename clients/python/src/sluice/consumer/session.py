"""One `Consume` stream, with its messages and settlements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..calls import BytesStream
from ..errors import duration_s
from ..v1 import (
    ConsumeRequest,
    ConsumeResponse,
    FlowControl,
    MessageRun,
    OffsetRange,
    SessionOpened,
    Settlement,
)
from .credit import Credit
from .delivery import SETTLED, Delivery
from .lanes import Lanes
from .ranges import OffsetGatherer, spans_of
from .settings import ConsumerSettings
from .settlements import (
    MAX_ACKS,
    MAX_OTHERS,
    Settled,
    SettlementRequest,
    SettlementResult,
    encode_acks,
    is_in,
    settlement,
)
from .writer import RequestWriter

MAX_UNANSWERED = 64
"""Requests with acknowledgements: the broker stops reading a stream when a hundred have no answer."""
CREDIT_EVERY_S = 1.0
MAX_REASON_LENGTH = 1_000


class Session:
    """From the broker's `opened` to the end of the stream."""

    def __init__(
        self,
        stream: BytesStream,
        settings: ConsumerSettings,
        opened: SessionOpened,
        lanes: Lanes,
        credit: Credit,
        arrived: Callable[[], None],
        can_take_more: Callable[[], bool],
    ) -> None:
        self.topic = settings.topic
        self.session_id = opened.session_id
        self.is_draining = False
        """It takes no more messages."""
        self.is_starving = False
        """A caller that iterates waits for more, and none has come since."""
        self._stream = stream
        self._settings = settings
        self._lanes = lanes
        self._credit = credit
        self._arrived = arrived
        self._can_take_more = can_take_more
        self._loop = asyncio.get_running_loop()
        self._ack_deadline_s = duration_s(opened.ack_deadline)
        self._writer = RequestWriter(stream)
        self._held: dict[int, dict[int, Delivery]] = {}
        """By partition and offset: neither settled nor taken back."""
        self._held_count = 0
        self._last_delivery_id = 0
        """The highest that was read: a request settles nothing that was delivered later."""
        self._has_lost_messages = False
        """The broker has taken messages back since it was told the credit."""
        self._request_count = 0
        self._unanswered: dict[int, SettlementRequest] = {}
        self._acks = OffsetGatherer()
        self._acks_request = SettlementRequest()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._others: list[Settlement] = []
        """Outcomes other than acknowledgements, of this turn of the event loop."""
        self._others_request = SettlementRequest()
        self._lease_timer: asyncio.TimerHandle | None = None
        self._credit_timer = self._loop.call_later(CREDIT_EVERY_S, self._watch_credit)
        if settings.extend_leases:
            self._lease_timer = self._loop.call_later(self._lease_every_s, self._extend_leases)

    # --- What the broker says -----------------------------------------------------------------------------------

    async def read(self) -> None:
        """Takes the responses of the broker until the stream ends. Raises SluiceError if the stream fails."""
        while (response := await self._stream.read()) is not None:
            self.take(ConsumeResponse.FromString(response))

    def take(self, response: ConsumeResponse) -> None:
        """In line: what is taken back was delivered before, what is delivered comes behind."""
        if response.revoked:
            self._revoke(response.revoked)
        if response.runs and not self.is_draining:
            self.is_starving = False
            for run in response.runs:
                self._deliver(run)
            self._arrived()
        if response.HasField("settled"):
            settled = response.settled
            request = self._unanswered.pop(settled.settlement_id, None)
            if request is not None:
                request.answer(settled.result)
                self._arrived()
            if self._acks.count and len(self._unanswered) == MAX_UNANSWERED - 1:
                self.flush_acks()

    def _deliver(self, run: MessageRun) -> None:
        partition, first = run.partition, run.first_offset
        self._last_delivery_id = max(self._last_delivery_id, run.delivery_id)
        deliveries = [
            Delivery(self, run, partition, offset, message) for offset, message in enumerate(run.messages, first)
        ]
        held = self._held.setdefault(partition, {})
        held.update(zip(range(first, first + len(deliveries)), deliveries))
        self._held_count += len(deliveries)
        self._lanes.put(partition, deliveries)

    def _revoke(self, ranges: Sequence[OffsetRange]) -> None:
        self._has_lost_messages = True
        self._drop_settlements([(piece.partition, piece.first_offset, piece.last_offset) for piece in ranges])
        for piece in ranges:
            held = self._held.get(piece.partition, {})
            for offset in [o for o in held if piece.first_offset <= o <= piece.last_offset]:
                held.pop(offset).revoke()
                self._held_count -= 1
        if self._held_count == 0:
            self._credit.idle()

    def _drop_settlements(self, ranges: Sequence[Settled]) -> None:
        """
        Drops the settlements of these messages that wait to be sent: they would settle the next delivery, if the client
        reads it first.
        """
        removed_count = sum(self._acks.remove(*each) for each in ranges)
        if removed_count > 0:
            self._acks_request.drop(ranges)
            if self._acks.count:
                self.flush_acks()
            else:
                # For what is delivered next there is another one.
                request, self._acks_request = self._acks_request, SettlementRequest()
                request.lose()
        kept = [item for item in self._others if not is_in(ranges, item.offsets.partition, item.offsets.first_offset)]
        if len(kept) < len(self._others):
            self._others_request.drop(ranges)
            self._others = kept
            if kept:
                self._flush_others()
            else:
                request, self._others_request = self._others_request, SettlementRequest()
                request.lose()

    # --- Settling -----------------------------------------------------------------------------------------------

    def ack(self, delivery: Delivery) -> SettlementResult:
        self._let_go(delivery)
        partition, offset = delivery.partition, delivery.offset
        self._acks.add(partition, offset)
        result = SettlementResult(self._acks_request, partition, offset)
        count = self._acks.count
        if count >= MAX_ACKS or (count >= self._credit.messages // 4 and self._may_send_acks):
            # Much of the credit is used up: the broker waits for it.
            self.flush_acks()
        elif self._ack_timer is None:
            self._ack_timer = self._loop.call_later(self._settings.ack_interval, self._acks_due)
        return result

    def nack(self, delivery: Delivery, delay_s: float | None, reason: str) -> SettlementResult:
        item = settlement(delivery.partition, delivery.offset, delivery.offset)
        item.nack.reason = reason[:MAX_REASON_LENGTH]
        if delay_s is not None:
            item.nack.delay.FromMicroseconds(round(delay_s * 1_000_000))
        self._let_go(delivery)
        # Behind it, the broker takes back what it does not know to be done.
        self.flush_acks()
        lane = self._lanes.pause(delivery.lane)
        self._others_request.on_answer.append(lambda: self._lanes.resume(lane))
        return self._settle(delivery, item)

    def dead_letter(self, delivery: Delivery, reason: str) -> SettlementResult:
        item = settlement(delivery.partition, delivery.offset, delivery.offset)
        item.dead_letter.reason = reason[:MAX_REASON_LENGTH]
        self._let_go(delivery)
        return self._settle(delivery, item)

    def extend(self, delivery: Delivery, by_s: float | None) -> SettlementResult:
        item = settlement(delivery.partition, delivery.offset, delivery.offset)
        item.extend.by.FromMicroseconds(round((self._ack_deadline_s if by_s is None else by_s) * 1_000_000))
        return self._settle(delivery, item)

    def _let_go(self, delivery: Delivery) -> None:
        delivery.state = SETTLED
        del self._held[delivery.partition][delivery.offset]
        self._held_count -= 1
        self._credit.settled()
        if self._held_count == 0:
            self._credit.idle()

    def _settle(self, delivery: Delivery, item: Settlement) -> SettlementResult:
        if not self._others:
            self._loop.call_soon(self._flush_others)
        self._others.append(item)
        result = SettlementResult(self._others_request, delivery.partition, delivery.offset)
        if len(self._others) == MAX_OTHERS:
            self._flush_others()
        return result

    def _flush_others(self) -> None:
        if not self._others:
            return
        settlements, self._others = self._others, []
        request, self._others_request = self._others_request, SettlementRequest()
        message = ConsumeRequest(
            settlement_id=self._await_answer(request),
            settlements=settlements,
            last_delivery_id=self._last_delivery_id,
        )
        self._writer.put(message.SerializeToString())

    def _acks_due(self) -> None:
        self._ack_timer = None
        if self._may_send_acks:
            self.flush_acks()

    @property
    def _may_send_acks(self) -> bool:
        """Otherwise they are sent after the next answer."""
        return len(self._unanswered) < MAX_UNANSWERED

    def flush_acks(self) -> None:
        """Sends the gathered acknowledgements."""
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if self._acks.count:
            request, self._acks_request = self._acks_request, SettlementRequest()
            request_id = self._await_answer(request)
            self._writer.put(encode_acks(request_id, self._last_delivery_id, self._acks.take()))
            self._adjust_credit()

    def _await_answer(self, request: SettlementRequest) -> int:
        self._request_count += 1
        request.request_id = self._request_count
        self._unanswered[self._request_count] = request
        return self._request_count

    async def flush(self) -> None:
        """Sends all settlements, and waits until the broker has answered them or the stream has ended."""
        self.flush_acks()
        self._flush_others()
        for request in list(self._unanswered.values()):
            await request.wait()

    # --- Leases and credit --------------------------------------------------------------------------------------

    @property
    def _lease_every_s(self) -> float:
        return max(0.01, self._ack_deadline_s / 3)

    def _extend_leases(self) -> None:
        self._lease_timer = self._loop.call_later(self._lease_every_s, self._extend_leases)
        # The leases of settled messages are not extended.
        self.flush_acks()
        for partition, held in self._held.items():
            for first, last in spans_of(held):
                item = settlement(partition, first, last)
                item.extend.by.FromMicroseconds(round(self._ack_deadline_s * 1_000_000))
                self._others.append(item)
                if len(self._others) == MAX_OTHERS:
                    self._flush_others()
        self._flush_others()

    def _watch_credit(self) -> None:
        self._credit_timer = self._loop.call_later(CREDIT_EVERY_S, self._watch_credit)
        if self._held_count == 0:
            self._credit.idle()
        self._adjust_credit()
        # A session whose leases have lapsed receives nothing before it sends its credit again.
        if self._has_lost_messages and not self.is_draining and self._can_take_more():
            self._grant(self._credit.messages)

    def _adjust_credit(self) -> None:
        if self.is_draining:
            return
        has_changed = self._credit.update(self._loop.time())
        if self._raise_credit() or has_changed:
            self._grant(self._credit.messages)

    def feed(self) -> None:
        """A caller that iterates waits for a message."""
        self.is_starving = True
        if not self.is_draining and self._raise_credit():
            self._grant(self._credit.messages)

    def _raise_credit(self) -> bool:
        """Raises the credit for a caller that settles nothing before it has more messages than the credit."""
        is_held_up = self.is_starving and self._held_count >= self._credit.messages
        return is_held_up and self._credit.raise_to(2 * self._held_count)

    def _grant(self, messages: int) -> None:
        self._has_lost_messages = False
        credit = FlowControl(
            max_outstanding_messages=messages, max_outstanding_bytes=self._settings.max_outstanding_bytes
        )
        self._writer.put(ConsumeRequest(flow_control=credit).SerializeToString())

    # --- The end ------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Accepts no more messages. Held messages can still be settled."""
        self.is_draining = True
        self._grant(0)

    async def leave(self) -> None:
        """
        Waits until all settlements are answered, then closes its half of the stream: held messages are free, and no
        attempt is counted.
        """
        await self.flush()
        self._writer.end()

    def end(self) -> None:
        """The stream has ended: all held messages are revoked."""
        for timer in (self._ack_timer, self._lease_timer, self._credit_timer):
            if timer is not None:
                timer.cancel()
        self._writer.cancel()
        self._stream.cancel()
        self._lanes.clear()
        for held in self._held.values():
            for delivery in held.values():
                delivery.revoke()
        self._held.clear()
        self._held_count = 0
        requests = [*self._unanswered.values(), self._acks_request, self._others_request]
        self._unanswered.clear()
        self._others.clear()
        for request in requests:
            request.lose()
