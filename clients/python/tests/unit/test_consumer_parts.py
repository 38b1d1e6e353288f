"""Ranges, credit, backoff: arithmetic."""

from __future__ import annotations

import random
from datetime import datetime, timezone

import pytest

from sluice import ConsumerSettings
from sluice.backoff import Backoff
from sluice.consumer.credit import Credit
from sluice.consumer.ranges import OffsetGatherer, joined, spans_of
from sluice.consumer.settlements import encode_acks
from sluice.v1 import ConsumeRequest, StartPosition


def test_spans() -> None:
    assert spans_of([]) == []
    assert spans_of({5, 3, 4, 9}) == [(3, 5), (9, 9)]
    assert joined([(4, 6), (0, 1), (2, 2), (5, 9)]) == [(0, 2), (4, 9)]


def test_offsets_gather_into_ranges_in_any_order() -> None:
    gatherer = OffsetGatherer()
    for offset in range(100):
        gatherer.add(1, offset)
    assert gatherer.take() == [(1, 0, 99)]
    offsets = list(range(1_000))
    random.Random(7).shuffle(offsets)
    for offset in offsets:
        gatherer.add(offset % 2, offset // 2)
    assert gatherer.count == 1_000
    assert sorted(gatherer.take()) == [(0, 0, 499), (1, 0, 499)]
    assert gatherer.count == 0
    assert gatherer.take() == []


def test_acknowledgements_are_encoded_as_the_broker_reads_them_fastest() -> None:
    data = encode_acks(7, 2**40, [(0, 0, 5), (3, 9, 9)])
    request = ConsumeRequest.FromString(data)
    assert (request.settlement_id, request.last_delivery_id) == (7, 2**40)
    found = [(s.offsets.partition, s.offsets.first_offset, s.offsets.last_offset) for s in request.settlements]
    assert found == [(0, 0, 5), (3, 9, 9)]
    assert all(s.WhichOneof("outcome") == "ack" for s in request.settlements)
    assert data[0] == 0x12, "settlements come first"


def test_credit_doubles_while_all_of_it_is_settled_within_a_second() -> None:
    credit = Credit(100_000, 1, 0.0)
    assert credit.messages == 16
    now = 0.0
    while now < 0.1:
        # As fast as a round trip of 5 ms allows.
        now += 0.005
        credit.settled(credit.messages)
        credit.update(now)
    assert credit.messages == 100_000
    slow = Credit(100_000, 1, 0.0)
    slow.settled(15)
    assert not slow.update(0.9), "not all of it"
    slow.settled(1)
    assert not slow.update(1.1) or slow.messages < 32, "that was slow"


def test_credit_shrinks_for_slow_handlers_and_not_below_what_they_need() -> None:
    credit = Credit(10_000, 1, 0.0)
    for tenth in range(1, 11):
        credit.settled(10_000)
        credit.update(tenth / 10)
    assert credit.messages == 10_000
    for second in range(2, 15):
        credit.settled(1)
        credit.update(float(second))
    assert credit.messages == 16
    assert Credit(10_000, 100, 0.0).messages == 200
    assert Credit(10, 100, 0.0).messages == 10


def test_credit_is_raised_for_who_gathers() -> None:
    credit = Credit(100, 1, 0.0)
    assert credit.raise_to(17)
    assert credit.messages == 32
    assert credit.raise_to(70)
    assert credit.messages == 70
    assert credit.raise_to(140)
    assert credit.messages == 100
    assert not credit.raise_to(200)


def test_credit_stays_while_there_is_little_to_do() -> None:
    credit = Credit(10_000, 500, 0.0)
    for second in range(1, 10):
        credit.settled(3)
        credit.idle()
        assert not credit.update(float(second))
    assert credit.messages == 1_000


def test_credit_changes_only_by_much() -> None:
    credit = Credit(10_000, 500, 0.0)
    credit.settled(550)
    assert not credit.update(1.0), "1,100 instead of 1,000"


def test_offsets_that_are_removed_are_not_taken() -> None:
    chance = random.Random(11)
    for _ in range(200):
        gatherer = OffsetGatherer()
        offsets = chance.sample(range(40), chance.randrange(40))
        for offset in offsets:
            gatherer.add(0, offset)
        gatherer.add(1, 7)
        kept = set(offsets)
        for _ in range(3):
            first = chance.randrange(40)
            last = first + chance.randrange(10)
            gone = {offset for offset in kept if first <= offset <= last}
            assert gatherer.remove(0, first, last) == bool(gone)
            kept -= gone
            assert gatherer.count == len(kept) + 1
        taken = [o for p, first, last in gatherer.take() if p == 0 for o in range(first, last + 1)]
        assert taken == sorted(kept)


def test_pauses_double_with_jitter_and_an_asked_one_counts() -> None:
    backoff = Backoff(0.05, 5)
    for expected in (0.05, 0.1, 0.2):
        assert expected / 2 <= backoff.next_s() <= expected
    assert backoff.next_s(30) == 30
    for _ in range(20):
        assert backoff.next_s() <= 5
    backoff.reset()
    assert backoff.next_s() <= 0.05


def test_where_a_subscription_starts() -> None:
    assert ConsumerSettings("t", "s").start_position.boundary == StartPosition.BOUNDARY_EARLIEST
    assert ConsumerSettings("t", "s", start="latest").start_position.boundary == StartPosition.BOUNDARY_LATEST
    time = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert ConsumerSettings("t", "s", start=time).start_position.time.seconds == int(time.timestamp())
    offset = StartPosition(offset=5)
    assert ConsumerSettings("t", "s", start=offset).start_position == offset


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="concurrency"):
        ConsumerSettings("t", "s", concurrency=0)
