from __future__ import annotations

from typing import Any, cast

from sluice.consumer.delivery import Delivery
from sluice.consumer.lane import Lane
from sluice.consumer.lanes import Lanes
from sluice.v1 import ORDERING_KEY, ORDERING_NONE, ORDERING_PARTITION, Message, MessageRun


def delivery(offset: int, partition: int = 0, key: bytes = b"") -> Delivery:
    return Delivery(cast(Any, None), MessageRun(), partition, offset, Message(key=key))


def deliveries(*offsets: int, partition: int = 0) -> list[Delivery]:
    return [delivery(offset, partition) for offset in offsets]


def taken(lanes: Lanes) -> Lane[Delivery]:
    lane = lanes.take()
    assert lane is not None
    return lane


def test_a_partition_is_worked_on_by_one() -> None:
    lanes = Lanes()
    lanes.ordering = ORDERING_PARTITION
    lanes.put(0, deliveries(1, 2))
    lanes.put(1, deliveries(1, partition=1))
    assert lanes.ready_count == 2
    first, second = taken(lanes), taken(lanes)
    assert {first.name, second.name} == {0, 1}
    assert lanes.take() is None
    lanes.put(0, deliveries(3))
    assert lanes.take() is None, "a handler works on it"
    first.queue.popleft()
    lanes.release(first)
    assert taken(lanes) is first


def test_a_key_is_worked_on_by_one_and_the_rest_by_any() -> None:
    lanes = Lanes()
    lanes.ordering = ORDERING_KEY
    lanes.put(0, [delivery(0, key=b"a"), delivery(1, key=b"b"), delivery(2, key=b"a"), delivery(3), delivery(4)])
    assert lanes.ready_count == 4
    names = []
    free = None
    for _ in range(3):
        lane = taken(lanes)
        names.append(lane.name)
        free = lane if lane.name is None else free
    assert names == [(0, b"a"), (0, b"b"), None]
    assert free is not None
    free.queue.popleft()
    assert taken(lanes) is free, "another may take the next one without a key"


def test_without_order_any_message_may_be_handled() -> None:
    lanes = Lanes()
    lanes.ordering = ORDERING_NONE
    lanes.put(0, deliveries(1, 2))
    lanes.put(3, deliveries(1, partition=3))
    assert lanes.ready_count == 3
    offsets = []
    while (lane := lanes.take()) is not None:
        offsets.append(lane.queue.popleft().offset)
    assert offsets == [1, 2, 1]


def test_a_paused_lane_waits_for_every_answer() -> None:
    lanes = Lanes()
    lanes.put(0, deliveries(1, 2, 3))
    lane = taken(lanes)
    lane.queue.popleft()
    lanes.pause(lane)
    lanes.pause(lane)
    lanes.release(lane)
    assert lanes.take() is None
    lanes.resume(lane)
    assert lanes.take() is None
    lanes.resume(lane)
    assert taken(lanes) is lane


def test_a_lane_that_is_ready_can_be_paused() -> None:
    lanes = Lanes()
    lanes.put(0, deliveries(1))
    lane = taken(lanes)
    lanes.release(lane)
    lanes.pause(lane)
    assert lanes.take() is None
    lanes.resume(lane)
    assert taken(lanes) is lane


def test_what_is_busy_stays_busy_over_sessions() -> None:
    lanes = Lanes()
    lanes.put(0, deliveries(1, 2))
    lanes.put(1, deliveries(1, partition=1))
    busy = taken(lanes)
    lanes.clear()
    assert lanes.take() is None
    assert not busy.queue
    lanes.put(0, deliveries(1, 2))
    assert lanes.take() is None, "the handler of the old session has not returned"
    lanes.release(busy)
    assert taken(lanes).queue[0].offset == 1


def test_keys_are_forgotten_when_nothing_is_left_of_them() -> None:
    lanes = Lanes()
    lanes.ordering = ORDERING_KEY
    for i in range(1_000):
        lanes.put(0, [delivery(i, key=str(i).encode())])
        lane = taken(lanes)
        lane.queue.popleft()
        if i % 2:
            lanes.pause(lane)
        lanes.release(lane)
        if i % 2:
            lanes.resume(lane)
    assert not lanes._lanes
