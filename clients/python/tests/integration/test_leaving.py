"""A consumer that leaves does so in good order, and settles nothing that it should not."""

from __future__ import annotations

import asyncio

from sluice import Client, Delivery
from sluice.v1 import ORDERING_PARTITION, GetMessageRequest, ListConsumersRequest
from tests.support.broker import Broker
from tests.support.handling import create_subscription_with_topic, publish
from tests.support.topics import backlog_of, create_subscription, create_topic, end_lease
from tests.support.waiting import within


async def failed_attempts(client: Client, topic: str) -> int:
    found = await client.admin.get_message(GetMessageRequest(topic=topic, partition=0, offset=0))
    return found.statuses[0].failed_attempts


async def test_one_that_is_closed_soon_after_its_start_is_charged_nothing(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION)
    await publish(client, topic, "never handled")
    handled_count = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled_count
        handled_count += 1

    turns = 0
    # From before the stream is there until a message is handled.
    while handled_count == 0:
        consumer = client.consumer(topic, "s")
        running = asyncio.create_task(consumer.run(handler))
        for _ in range(turns):
            await asyncio.sleep(0)
        await within(consumer.close())
        await within(running)
        assert await failed_attempts(client, topic) == 0, f"closed after {turns} turns of the event loop"
        turns += 1 + turns // 20


async def test_one_half_closes_before_its_session_is_opened(own_broker: Broker) -> None:
    async with Client(own_broker.address) as client:
        await create_topic(client, "t")
        await create_subscription(client, "t", "s")
        await publish(client, "t", *(f"{i}" for i in range(20)))
        begun: list[Delivery] = []

        async def handler(delivery: Delivery) -> None:
            begun.append(delivery)

        own_broker.stop()
        consumer = client.consumer("t", "s")
        running = asyncio.create_task(consumer.run(handler))
        for _ in range(20):
            await asyncio.sleep(0)
        closing = asyncio.create_task(consumer.close())
        # An end that comes later is not noticed: a busy machine weakens the check, and does not fail it.
        _, pending = await asyncio.wait([closing], timeout=0.2)
        assert pending, "it waits for the end of the stream"
        own_broker.resume()
        await within(closing)
        await within(running)
        assert not begun
        found = await client.admin.list_consumers(ListConsumersRequest(topic="t", subscription="s"))
        assert not found.consumers
        assert await failed_attempts(client, "t") == 0


async def test_a_late_answer_does_not_settle_what_was_delivered_again(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION, ack_deadline_ms=60_000, backoff_ms=5)
    await publish(client, topic, "m")
    settings = client.consumer(topic, "s", extend_leases=False, ack_interval=3_600)
    async with settings as consumer:
        deliveries = aiter(consumer)
        first = await within(anext(deliveries))
        # It waits to be sent while the lease lapses.
        acknowledged = first.ack()
        await end_lease(client, topic, 0)
        second = await within(anext(deliveries))
        assert (first.attempt, second.attempt) == (1, 2)
        assert await within(acknowledged) is False
        assert await first.ack() is False
        assert await backlog_of(client, topic, "s") == 1
        assert await within(second.nack(delay=0)) is True
        third = await within(anext(deliveries))
        assert third.attempt == 3
        third.ack()
    assert await backlog_of(client, topic, "s") == 0
