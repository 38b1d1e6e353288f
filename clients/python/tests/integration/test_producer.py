from __future__ import annotations

import asyncio
import contextlib

import pytest

from sluice import (
    BUFFER_FULL,
    CLOSED,
    RETRY_TIMEOUT,
    Client,
    Durability,
    ErrorReason,
    Message,
    Receipt,
    SluiceError,
    StatusCode,
)
from sluice.routing import partition_of_key
from sluice.v1 import (
    BacklogLimit,
    CreateTopicRequest,
    DeleteTopicRequest,
    GetProducerRequest,
    Topic,
    UpdateTopicRequest,
)
from tests.support.topics import create_subscription, create_topic, stored
from tests.support.waiting import until, within

MIB = 1024 * 1024


async def test_receipts_say_where_each_message_is(client: Client, topic: str) -> None:
    await create_topic(client, topic, 4)
    keys = ["anna", "ben", "", "carla", "anna", "", "ben"]
    async with client.producer(topic) as producer:
        sending = [producer.send(f"{i}", key=key) for i, key in enumerate(keys)]
        receipts = await within(asyncio.gather(*sending))
        assert producer.last_sequence == len(keys)
    log = await stored(client, topic)
    assert len(log) == len(keys)
    for i, (key, receipt) in enumerate(zip(keys, receipts)):
        assert receipt.durability == Durability.SYNCED
        assert not receipt.is_duplicate
        assert receipt.partition is not None
        assert receipt.offset is not None
        assert log[receipt.partition, receipt.offset].payload == str(i).encode()
        if key:
            assert receipt.partition == partition_of_key(key.encode(), 4)
    assert receipts[0] < receipts[4], "a key keeps its order"
    assert receipts[2].partition == receipts[5].partition, "what has no key stays together"


async def test_a_topic_that_grows_does_not_confuse_places(client: Client, topic: str) -> None:
    await create_topic(client, topic, 1)
    keys = [f"key-{i}" for i in range(40)]
    async with client.producer(topic) as producer:
        await within(producer.send("before", key="a"))
        request = UpdateTopicRequest(topic=Topic(name=topic, partition_count=8))
        request.update_mask.paths.append("partition_count")
        await client.admin.update_topic(request)
        receipts = await within(producer.send_many([Message(key, key=key) for key in keys]))
    log = await stored(client, topic)
    for key, receipt in zip(keys, receipts):
        assert receipt.partition is not None
        assert receipt.offset is not None
        assert log[receipt.partition, receipt.offset].key == key.encode()


async def test_everything_to_one_partition(client: Client, topic: str) -> None:
    await create_topic(client, topic, 4)
    async with client.producer(topic, partition=2) as producer:
        receipts = await within(producer.send_many([Message("x", key=f"{i}") for i in range(20)]))
    assert [(receipt.partition, receipt.offset) for receipt in receipts] == [(2, i) for i in range(20)]


async def test_a_refused_batch_fails_alone(client: Client, topic: str) -> None:
    async with client.producer(topic, batch_max_messages=5, linger=0) as producer:
        sending = [
            producer.send(f"{i}", headers={"sluice-mine": "x"} if i == 52 else {"mine": "x"}) for i in range(100)
        ]
        results = await within(asyncio.gather(*sending, return_exceptions=True))
    failed = [i for i, result in enumerate(results) if isinstance(result, SluiceError)]
    assert failed == [50, 51, 52, 53, 54]
    error = results[52]
    assert isinstance(error, SluiceError)
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, ErrorReason.RESERVED_HEADER)
    log = await stored(client, topic)
    payloads = [log[0, offset].payload.decode() for offset in range(95)]
    assert payloads == [str(i) for i in range(100) if i not in failed], "in order, once, without the refused"
    receipts = [result for result in results if isinstance(result, Receipt)]
    for receipt in receipts:
        assert receipt.is_duplicate or receipt.partition == 0


@pytest.mark.parametrize("size", [2 * MIB, 4 * MIB + 100, 8 * MIB])
async def test_a_message_that_is_too_large_fails_alone(client: Client, topic: str, size: int) -> None:
    async with client.producer(topic) as producer:
        before = producer.send("before")
        large = producer.send(bytes(size))
        after = producer.send("after")
        await within(asyncio.gather(before, after))
        with pytest.raises(SluiceError) as caught:
            await within(large)
    assert caught.value.code in (StatusCode.INVALID_ARGUMENT, StatusCode.RESOURCE_EXHAUSTED)
    assert [message.payload for message in (await stored(client, topic)).values()] == [b"before", b"after"]


async def test_a_named_producer_goes_on_and_fences_its_older_self(client: Client, topic: str) -> None:
    async with client.producer(topic, producer_id="me") as first:
        await within(first.send_many(["1", "2", "3"]))
    old = await client.producer(topic, producer_id="me").open()
    assert old.last_sequence == 3
    await within(old.send("4"))
    new = await client.producer(topic, producer_id="me").open()
    assert new.last_sequence == 4
    await within(new.send("5"))
    with pytest.raises(SluiceError) as caught:
        await within(old.send("never"))
    assert caught.value.reason == ErrorReason.PRODUCER_FENCED
    with pytest.raises(SluiceError) as again:
        old.send("never")
    assert again.value.reason == ErrorReason.PRODUCER_FENCED, "it is over"
    await within(old.close())
    await within(new.send("6"))
    await within(new.close())
    found = await client.broker.get_producer(GetProducerRequest(topic=topic, producer_id="me"))
    assert found.last_sequence == 6
    payloads = [message.payload for message in (await stored(client, topic)).values()]
    assert payloads == [b"1", b"2", b"3", b"4", b"5", b"6"]


async def test_a_producer_whose_topic_is_deleted_is_over(client: Client, topic: str) -> None:
    await create_topic(client, topic)
    async with client.producer(topic) as producer:
        await within(producer.send("1"))
        await client.admin.delete_topic(DeleteTopicRequest(name=topic))
        with pytest.raises(SluiceError) as caught:
            await within(producer.send("2"))
        assert caught.value.reason == ErrorReason.TOPIC_DELETED


async def full_topic(client: Client, topic: str, when_full: BacklogLimit.WhenFull) -> None:
    """A backlog of ten messages at most, and a subscription that settles none."""
    limit = BacklogLimit(max_messages=10, when_full=when_full)
    await client.admin.create_topic(CreateTopicRequest(topic=Topic(name=topic, partition_count=1, backlog_limit=limit)))
    await create_subscription(client, topic, "slow")


async def settle_all(client: Client, topic: str, count: int) -> None:
    async with client.consumer(topic, "slow") as consumer:
        seen = 0
        async for delivery in consumer:
            delivery.ack()
            seen += 1
            if seen == count:
                return


async def test_a_full_buffer_makes_senders_wait(client: Client, topic: str) -> None:
    await full_topic(client, topic, BacklogLimit.WHEN_FULL_BLOCK)
    async with client.producer(topic, buffer_max_bytes=1_000, batch_max_messages=5, linger=0) as producer:
        sending = [producer.send(bytes(100)) for _ in range(60)]
        room = asyncio.create_task(producer.room())
        await within(sending[0])
        # What is held stays held until something is settled. A receipt that comes later is not noticed: a busy machine
        # weakens the check, and does not fail it.
        _, pending = await asyncio.wait(sending[40:], timeout=0.2)
        assert len(pending) == 20
        assert not room.done()
        await within(settle_all(client, topic, 60))
        receipts = await within(asyncio.gather(*sending))
        await within(room)
    assert [receipt.offset for receipt in receipts] == list(range(60))


async def test_a_full_buffer_makes_senders_fail_if_they_would_rather(client: Client, topic: str) -> None:
    await full_topic(client, topic, BacklogLimit.WHEN_FULL_BLOCK)
    producer = await client.producer(
        topic, buffer_max_bytes=1_000, batch_max_messages=1, max_in_flight=1, when_full="fail"
    ).open()
    sending: list[asyncio.Future[Receipt]] = []

    def fill() -> None:
        while True:
            sending.append(producer.send(bytes(100)))

    with pytest.raises(SluiceError) as caught:
        fill()
    assert (caught.value.code, caught.value.reason) == (StatusCode.RESOURCE_EXHAUSTED, BUFFER_FULL)
    assert len(sending) == 10
    await within(producer.room())
    sending.append(producer.send(bytes(100)))
    await within(producer.abort())
    assert all(future.done() for future in sending)
    for future in sending:
        # Of those that had no receipt.
        future.exception()


async def test_a_rejected_batch_is_tried_again_until_there_is_room(client: Client, topic: str) -> None:
    await full_topic(client, topic, BacklogLimit.WHEN_FULL_REJECT)
    async with client.producer(topic, batch_max_messages=5, linger=0, retry_min_backoff=0.005) as producer:
        sending = [producer.send(f"{i}") for i in range(40)]
        await within(sending[0])
        await within(settle_all(client, topic, 40))
        await within(asyncio.gather(*sending))
    assert [message.payload.decode() for message in (await stored(client, topic)).values()] == [
        str(i) for i in range(40)
    ]


async def test_a_batch_that_is_tried_for_too_long_fails_and_those_behind_it_go_on(client: Client, topic: str) -> None:
    await full_topic(client, topic, BacklogLimit.WHEN_FULL_BLOCK)
    async with client.producer(topic, batch_max_messages=20, max_in_flight=1, retry_timeout=1.5) as producer:
        first = [producer.send(f"{i}") for i in range(20)]
        second = [producer.send(f"{i}") for i in range(20, 40)]
        third = [producer.send(f"{i}") for i in range(40, 60)]
        results = await within(asyncio.gather(*first, *second, *third, return_exceptions=True))
        failed = [result for result in results if not isinstance(result, Receipt)]
        assert failed
        for error in failed:
            assert isinstance(error, SluiceError)
            assert (error.code, error.reason) == (StatusCode.DEADLINE_EXCEEDED, RETRY_TIMEOUT)
        settling = asyncio.create_task(settle_all(client, topic, 10_000))
        fresh: Receipt | None = None
        while fresh is None:
            with contextlib.suppress(SluiceError):
                fresh = await within(producer.send("fresh"))
        settling.cancel()
        await asyncio.wait([settling])
    log = await stored(client, topic)
    receipts = [result for result in results if isinstance(result, Receipt)]
    assert [log[0, receipt.offset or 0].payload.decode() for receipt in receipts] == [
        str(i) for i, result in enumerate(results) if isinstance(result, Receipt)
    ]
    assert producer.last_sequence == len(log), "each number is one message"
    assert list(log.values())[-1].payload == b"fresh"


async def test_closing_sends_what_waits_and_takes_no_more(client: Client, topic: str) -> None:
    producer = await client.producer(topic, linger=3_600).open()
    sent = producer.send("waits")
    closing = asyncio.create_task(producer.close())
    assert (await within(sent)).offset == 0
    await within(closing)
    await within(producer.close())
    with pytest.raises(SluiceError) as caught:
        producer.send("late")
    assert caught.value.reason == CLOSED


async def test_flushing_waits_for_all_receipts(client: Client, topic: str) -> None:
    async with client.producer(topic, linger=3_600) as producer:
        sending = [producer.send("x") for _ in range(1_500)]
        await within(producer.flush())
        assert all(future.done() for future in sending)


async def test_cancelling_stops_the_wait_and_not_the_message(client: Client, topic: str) -> None:
    async with client.producer(topic, linger=0.05) as producer:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(producer.send("sent all the same"), 0.001)
        assert (await within(producer.send("next"))).offset == 1


async def test_leaving_by_cancellation_gives_up_at_once(client: Client, topic: str) -> None:
    await full_topic(client, topic, BacklogLimit.WHEN_FULL_BLOCK)
    sending: list[asyncio.Future[Receipt]] = []

    async def produce() -> None:
        async with client.producer(topic, batch_max_messages=20) as producer:
            sending.extend(producer.send("x") for _ in range(200))
            await asyncio.gather(*sending)

    task = asyncio.create_task(produce())
    await until(lambda: bool(sending) and sending[0].done())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    assert all(future.done() for future in sending)
