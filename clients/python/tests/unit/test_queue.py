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
        self.queue = SendQueue(ProducerSettings("t", **settings), self.ready.set)  # type: ignore[arg-type]

    def put(self, payload: bytes = b"x", key: bytes = b"") -> asyncio.Future[Receipt]:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.queue.put((message_head(key, len(payload), None, None), payload, key, future))
        return future


async def test_a_batch_goes_when_it_has_enough_messages() -> None:
    bench = Bench(batch_max_messages=3, linger_ms=60_000)
    for _ in range(7):
        bench.put()
    assert [len(batch) for batch in bench.queue.batches] == [3, 3]
    assert [batch.first_sequence for batch in bench.queue.batches] == [1, 4]
    bench.queue.close_batch()
    assert bench.queue.last_sequence == 7


async def test_a_batch_goes_before_it_is_too_large() -> None:
    bench = Bench(batch_max_bytes=1_000, linger_ms=60_000)
    for size in (400, 400, 400, 5_000, 10):
        bench.put(bytes(size))
    bench.queue.close_batch()
    assert [len(batch) for batch in bench.queue.batches] == [2, 1, 1, 1]
    assert all(batch.byte_length <= 1_000 for batch in list(bench.queue.batches)[:2])


async def test_a_batch_goes_when_its_first_message_has_waited() -> None:
    bench = Bench(linger_ms=1)
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


async def test_numbers_go_on_where_the_broker_stands() -> None:
    bench = Bench(batch_max_messages=2)
    for _ in range(6):
        bench.put()
    bench.queue.pop()
    bench.queue.renumber(0)
    assert [batch.first_sequence for batch in bench.queue.batches] == [1, 3]
    assert bench.queue.last_sequence == 4
    bench.queue.renumber(1)
    assert bench.queue.batches[0].first_sequence == 1, "part of it is stored: it keeps its number"


async def test_a_batch_expires_and_those_behind_it_do_not() -> None:
    bench = Bench(batch_max_messages=1, retry_timeout_ms=1_000)
    bench.put()
    bench.put()
    bench.queue.batches[0].tried_at = 10.0
    bench.queue.batches[1].tried_at = 10.5
    assert not list(bench.queue.expired(10.9))
    assert len(list(bench.queue.expired(11.0))) == 1
    assert len(bench.queue.batches) == 1


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
