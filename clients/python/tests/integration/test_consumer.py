from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from sluice import Client, Delivery, ErrorReason, Message, SluiceError
from sluice.v1 import (
    ORDERING_KEY,
    ORDERING_NONE,
    ORDERING_PARTITION,
    DeleteSubscriptionRequest,
    ListConsumersRequest,
    Ordering,
    SubscriptionPartitionStats,
)
from sluice.v1 import Consumer as ProtoConsumer
from tests.support.handling import Handled, create_subscription_with_topic, publish
from tests.support.topics import backlog_of, create_subscription, create_topic, partitions_of
from tests.support.waiting import within


async def test_a_delivery_says_all_about_its_message(client: Client, topic: str) -> None:
    message = Message(
        "two tickets",
        key="anna",
        headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        event_time=1_700_000_000_123_456_789,
    )
    async with client.producer(topic, producer_id="shop") as producer:
        await within(producer.send_many([message, Message()]))
    consumer = client.consumer(topic, "s")
    handled = Handled(2)
    running = asyncio.create_task(consumer.run(handled))
    await within(handled.all.wait())
    await within(consumer.close())
    await within(running)
    first, second = handled.deliveries
    assert (first.topic, first.partition, first.offset, first.attempt) == (topic, 0, 0, 1)
    assert (first.payload, first.key, first.headers) == (b"two tickets", b"anna", message.headers)
    assert first.event_time_ns == message.event_time
    assert first.producer_id == "shop"
    assert first.event_time is not None
    assert first.publish_time > first.event_time
    assert (second.payload, second.key, second.headers, second.event_time) == (b"", b"", {}, None)
    assert await backlog_of(client, topic, "s") == 0


@pytest.mark.parametrize("ordering", [ORDERING_PARTITION, ORDERING_KEY, ORDERING_NONE])
async def test_order_is_kept_with_many_handlers_at_once(client: Client, topic: str, ordering: Ordering) -> None:
    await create_topic(client, topic, 4)
    await create_subscription(client, topic, "s", ordering=ordering)
    await publish(client, topic, *(Message(f"{i}", key=f"key-{i % 13}") for i in range(2_000)))
    orders: dict[object, list[int]] = defaultdict(list)
    at_work: dict[object, int] = defaultdict(int)
    most_at_once = 0
    handled = Handled(2_000)

    async def handler(delivery: Delivery) -> None:
        nonlocal most_at_once
        lane = delivery.partition if ordering == ORDERING_PARTITION else delivery.key
        at_work[lane] += 1
        most_at_once = max(most_at_once, sum(at_work.values()))
        if ordering != ORDERING_NONE:
            assert at_work[lane] == 1, "two handlers at once"
        orders[lane].append(delivery.offset)
        await asyncio.sleep(0)
        at_work[lane] -= 1
        handled.note(delivery)

    consumer = client.consumer(topic, "s", concurrency=8)
    running = asyncio.create_task(consumer.run(handler))
    await within(handled.all.wait())
    await within(consumer.close())
    await within(running)
    assert len(handled.deliveries) == 2_000, "none came twice, none failed"
    assert most_at_once > 1
    if ordering != ORDERING_NONE:
        assert all(offsets == sorted(offsets) for offsets in orders.values())


async def test_closing_lets_handlers_finish_and_gives_back_the_rest(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION)
    await publish(client, topic, *(f"{i}" for i in range(50)))
    began, gate = asyncio.Event(), asyncio.Event()
    handled = Handled(50)

    async def handler(delivery: Delivery) -> None:
        handled.note(delivery)
        if delivery.payload == b"3":
            began.set()
            await gate.wait()

    consumer = client.consumer(topic, "s")
    running = asyncio.create_task(consumer.run(handler))
    await within(began.wait())
    closing = asyncio.create_task(consumer.close())
    await asyncio.sleep(0)
    assert not closing.done()
    gate.set()
    await within(closing)
    await within(running)
    assert handled.payloads == ["0", "1", "2", "3"]
    assert await backlog_of(client, topic, "s") == 46, "what was handled is durable"
    rest = Handled(46)
    other = client.consumer(topic, "s")
    again = asyncio.create_task(other.run(rest))
    await within(rest.all.wait())
    await within(other.close())
    await within(again)
    assert rest.payloads == [str(i) for i in range(4, 50)]
    assert all(delivery.attempt == 1 for delivery in rest.deliveries), "nothing has failed"


async def test_a_handler_may_close_its_consumer(client: Client, topic: str) -> None:
    await publish(client, topic, "a", "b")
    consumer = client.consumer(topic, "s")

    async def handler(delivery: Delivery) -> None:
        await consumer.close()

    await within(consumer.run(handler))
    assert await backlog_of(client, topic, "s") == 1


async def test_cancelling_a_run_cancels_handlers_and_nothing_has_failed(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION)
    await publish(client, topic, "a")
    began, was_cancelled = asyncio.Event(), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    running = asyncio.create_task(client.consumer(topic, "s").run(handler))
    await within(began.wait())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(running)
    assert was_cancelled.is_set()
    async with client.consumer(topic, "s") as consumer:
        delivery = await within(anext(aiter(consumer)))
        assert delivery.attempt == 1
        assert await within(delivery.ack())


async def test_iterating_in_batches(client: Client, topic: str) -> None:
    await publish(client, topic, *(f"{i}" for i in range(3_000)))
    seen: list[int] = []
    async with client.consumer(topic, "s") as consumer:
        held: list[Delivery] = []
        async for delivery in consumer:
            seen.append(int(delivery.payload))
            held.append(delivery)
            if len(held) == 500:
                results = [delivery.ack() for delivery in held]
                assert all([await result for result in results])
                held.clear()
            if len(seen) == 3_000:
                break
    assert seen == list(range(3_000))
    assert await backlog_of(client, topic, "s") == 0


async def test_iterating_past_a_failure(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION)
    await publish(client, topic, *(f"{i}" for i in range(100)))
    seen: list[str] = []
    async with client.consumer(topic, "s") as consumer:
        async for delivery in consumer:
            if delivery.payload == b"5" and delivery.attempt == 1:
                delivery.nack()
                continue
            seen.append(delivery.payload.decode())
            delivery.ack()
            if len(seen) == 100:
                break
    assert seen == [str(i) for i in range(100)]


async def test_outcomes_are_cut_into_requests_that_the_broker_reads(
    client: Client, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice.consumer.session.MAX_OTHERS", 3)
    await publish(client, topic, *(f"{i}" for i in range(10)))
    async with client.consumer(topic, "s") as consumer:
        held: list[Delivery] = []
        async for delivery in consumer:
            held.append(delivery)
            if len(held) == 10:
                break
        results = [delivery.dead_letter("x" * 1_000) for delivery in held]
        assert all([await result for result in results])
    assert len({result._request for result in results}) == 4
    assert await backlog_of(client, topic, "s") == 0


async def test_where_a_new_subscription_starts(client: Client, topic: str) -> None:
    await publish(client, topic, "before")
    async with client.consumer(topic, "s", start="latest", consumer_id="a test") as consumer:
        first = asyncio.create_task(anext(aiter(consumer)))
        request = ListConsumersRequest(topic=topic, subscription="s")

        async def is_listed() -> None:
            while "a test" not in [c.consumer_id for c in await list_consumers(client, request)]:
                await asyncio.sleep(0.01)

        await within(is_listed())
        await publish(client, topic, "after")
        delivery = await within(first)
        assert delivery.payload == b"after"
        assert await delivery.ack()


async def list_consumers(client: Client, request: ListConsumersRequest) -> list[ProtoConsumer]:
    try:
        return list((await client.admin.list_consumers(request)).consumers)
    except SluiceError as error:
        if error.reason != ErrorReason.SUBSCRIPTION_NOT_FOUND:
            raise
        return []


async def test_credit_shrinks_for_a_slow_handler(client: Client, topic: str) -> None:
    # A busy machine handles so many a second, too.
    most = 300
    is_slow = False
    consumer = client.consumer(topic, "s", max_outstanding_messages=most)

    async def handler(delivery: Delivery) -> None:
        if is_slow:
            await asyncio.sleep(0.05)

    running = asyncio.create_task(consumer.run(handler))

    async def credit() -> int:
        found = await client.admin.list_consumers(ListConsumersRequest(topic=topic))
        return found.consumers[0].flow_control.max_outstanding_messages if found.consumers else 0

    async def grown() -> None:
        while await credit() < most:
            # There is always something to handle.
            await publish(client, topic, *(f"{i}" for i in range(most)))

    async def shrunk() -> None:
        # Twice twenty a second.
        while await credit() > 60:
            await asyncio.sleep(0.05)

    await publish(client, topic, "first")
    await within(grown())
    is_slow = True
    await publish(client, topic, *(f"{i}" for i in range(most)))
    await within(shrunk())
    running.cancel()
    await asyncio.wait([running])


async def test_a_subscription_that_is_deleted_ends_the_consumer(client: Client, topic: str) -> None:
    await publish(client, topic, "a")
    handled = Handled(1)
    running = asyncio.create_task(client.consumer(topic, "s").run(handled))
    await within(handled.all.wait())
    await client.admin.delete_subscription(DeleteSubscriptionRequest(topic=topic, name="s"))
    with pytest.raises(SluiceError) as caught:
        await within(running)
    assert caught.value.reason == ErrorReason.SUBSCRIPTION_DELETED


async def test_consumers_share_partitions(client: Client, topic: str) -> None:
    await create_topic(client, topic, 4)
    one, two = client.consumer(topic, "s"), client.consumer(topic, "s")
    handled = Handled(400)
    runs = [asyncio.create_task(consumer.run(handled)) for consumer in (one, two)]

    async def are_shared() -> None:
        while len({p.session_id for p in await partitions(client, topic)} - {""}) < 2:
            await asyncio.sleep(0.01)

    await within(are_shared())
    await publish(client, topic, *(Message(f"{i}", key=f"{i}") for i in range(400)))
    await within(handled.all.wait())
    await within(asyncio.gather(one.close(), two.close(), *runs))
    assert len(handled.deliveries) == 400
    assert len({delivery.session for delivery in handled.deliveries}) == 2


async def partitions(client: Client, topic: str) -> list[SubscriptionPartitionStats]:
    try:
        return list(await partitions_of(client, topic, "s"))
    except SluiceError as error:
        if error.reason not in (ErrorReason.TOPIC_NOT_FOUND, ErrorReason.SUBSCRIPTION_NOT_FOUND):
            raise
        return []


async def test_many_messages_can_be_in_hand(client: Client, topic: str) -> None:
    async with client.producer(topic) as producer:
        await within(producer.send_many([f"{i}" for i in range(200)]))
    async with client.consumer(topic, "s", max_outstanding_messages=150) as consumer:
        deliveries = [await within(anext(aiter(consumer))) for _ in range(150)]
        more = asyncio.ensure_future(anext(consumer))
        # A message that comes later is not noticed: a busy machine weakens the check, and does not fail it.
        await asyncio.wait([more], timeout=0.1)
        assert not more.done(), "above the most"
        assert all(await within(asyncio.gather(*(delivery.ack() for delivery in deliveries))))
        await within(more)
