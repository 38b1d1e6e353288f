from __future__ import annotations

import asyncio

import pytest

from sluice import ProducerSettings, Receipt, SluiceError, StatusCode
from sluice.message import Durability
from sluice.producer.queue import SendQueue
from sluice.v1 import PublishStreamRequest
from sluice.wire import message_head
from tests.support.waiting import within


class Bench:
    """A queue, and what it said."""

    def __init__(self, **settings: object) -> None:
        self.ready = asyncio.Event()
        self.has_slot = True
        given = ProducerSettings("t", **settings)  # type: ignore[arg-type]
        self.queue = SendQueue(given, self.ready.set, lambda: self.has_slot)

    def put(self, payload: bytes = b"x", key: bytes = b"", at: float = 0.0) -> asyncio.Future[Receipt]:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.queue.put((message_head(key, len(payload), None, None), payload, key, future, at))
        return future


async def test_a_batch_goes_when_it_has_enough_messages() -> None:
    bench = Bench(batch_max_messages=3, linger=60)
    for _ in range(7):
        bench.put()
    assert [len(batch) for batch in bench.queue.batches] == [3, 3]
    assert bench.queue.open_count == 1


async def test_a_batch_goes_before_it_is_too_large() -> None:
    bench = Bench(batch_max_bytes=1_000, linger=60)
    for size in (400, 400, 400, 5_000, 10):
        bench.put(bytes(size))
    bench.queue.close_batch()
    assert [len(batch) for batch in bench.queue.batches] == [2, 1, 1, 1]
    assert all(batch.byte_length <= 1_000 for batch in list(bench.queue.batches)[:2])


async def test_a_batch_goes_when_its_first_message_has_waited() -> None:
    bench = Bench(linger=0.001)
    bench.put()
    bench.put()
    assert not bench.queue.batches
    await within(bench.ready.wait())
    assert [len(batch) for batch in bench.queue.batches] == [2]


async def test_a_request_holds_what_was_put_in() -> None:
    bench = Bench()
    bench.put(b"one", b"k")
    bench.put(b"two")
    bench.queue.close_batch()
    bench.queue.batches[0].first_sequence = 1
    request = PublishStreamRequest.FromString(bench.queue.batches[0].encode("t", None, "me", 3))
    assert [message.payload for message in request.messages] == [b"one", b"two"]
    assert (request.topic, request.HasField("partition"), request.batch_id) == ("t", False, 1)
    assert (request.producer.producer_id, request.producer.epoch, request.producer.first_sequence) == ("me", 3, 1)


async def test_messages_stand_in_line_while_there_is_no_room() -> None:
    bench = Bench(buffer_max_bytes=1, batch_max_messages=1)
    first, second, third = bench.put(), bench.put(b"y"), bench.put(b"z")
    assert len(bench.queue.batches) == 1
    second.cancel()
    room = asyncio.create_task(bench.queue.room())
    bench.queue.pop().resolve_range(0, 5, Durability.SYNCED)
    assert first.result() == Receipt(0, 5, Durability.SYNCED, False)
    # The second was taken back while it stood in line.
    assert bench.queue.batches[0].encode("t", None, "p", 1).endswith(b"z")
    await asyncio.sleep(0)
    assert not room.done()
    bench.queue.pop().resolve_duplicate()
    await within(room)
    assert third.result().is_duplicate
    assert bench.queue.is_empty


async def test_what_waits_for_a_slot_gathers_whatever_the_linger() -> None:
    bench = Bench(linger=0, batch_max_messages=5)
    bench.has_slot = False
    for _ in range(12):
        bench.put()
        # Each has waited for its linger when the next one comes. A timer that comes later weakens the check only.
        await asyncio.sleep(0.002)
    assert [len(batch) for batch in bench.queue.batches] == [5, 5]
    bench.queue.slot_free()
    assert bench.queue.open_count == 2, "there is none"
    bench.has_slot = True
    bench.queue.slot_free()
    assert [len(batch) for batch in bench.queue.batches] == [5, 5, 2]


async def test_messages_expire_in_order_and_those_behind_them_do_not() -> None:
    bench = Bench(batch_max_messages=2, linger=60, retry_timeout=1, buffer_max_bytes=12)
    # Two batches, the second because its message came much later; then one that is open, and two in line.
    futures = [bench.put(at=at) for at in (10.0, 10.6, 11.2, 11.8, 12.4)]
    assert [len(batch) for batch in bench.queue.batches] == [1, 1]
    assert (bench.queue.open_count, bench.queue.expires_at) == (1, 11.0)
    late = SluiceError("late", code=StatusCode.DEADLINE_EXCEEDED)
    bench.queue.expire(10.9, late)
    assert not any(future.done() for future in futures)
    bench.queue.expire(11.6, late)
    assert [future.done() for future in futures] == [True, True, False, False, False]
    assert bench.queue.expires_at == 12.2
    bench.queue.expire(12.85, late)
    assert [future.done() for future in futures] == [True, True, True, True, False]
    bench.queue.expire(13.4, late)
    assert bench.queue.is_empty
    assert bench.queue.expires_at is None
    for future in futures:
        assert future.exception() is late


async def test_the_end_tells_everybody() -> None:
    bench = Bench(buffer_max_bytes=1, batch_max_messages=1)
    futures = [bench.put() for _ in range(3)]
    idle, room = asyncio.create_task(bench.queue.idle()), asyncio.create_task(bench.queue.room())
    await asyncio.sleep(0)
    bench.queue.fail_all(SluiceError("over", code=StatusCode.ABORTED))
    await within(asyncio.gather(idle, room))
    for future in futures:
        with pytest.raises(SluiceError, match="over"):
            future.result()


@pytest.mark.parametrize("setting", ["batch_max_bytes", "batch_max_messages", "max_in_flight", "buffer_max_bytes"])
def test_settings_are_checked(setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        ProducerSettings("t", **{setting: 0})  # type: ignore[arg-type]
