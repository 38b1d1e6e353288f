"""Messages that fail, and leases that end."""

from __future__ import annotations

import asyncio

import pytest

from sluice import Client, Delivery, Message
from sluice.v1 import ORDERING_KEY, ORDERING_PARTITION, Ordering
from tests.support.handling import Handled, create_subscription_with_topic, publish
from tests.support.topics import backlog_of, create_subscription, end_lease, stored
from tests.support.waiting import until, within


@pytest.mark.parametrize("ordering", [ORDERING_PARTITION, ORDERING_KEY])
async def test_a_failed_message_comes_again_before_those_behind_it(
    client: Client, topic: str, ordering: Ordering
) -> None:
    await create_subscription_with_topic(client, topic, ordering)
    await publish(client, topic, *(Message(f"{i}", key="k") for i in range(200)))
    handled = Handled(200)

    async def handler(delivery: Delivery) -> None:
        if delivery.payload == b"7" and delivery.attempt == 1:
            raise ValueError("not today")
        handled.note(delivery)

    consumer = client.consumer(topic, "s")
    running = asyncio.create_task(consumer.run(handler))
    await within(handled.all.wait())
    await within(consumer.close())
    await within(running)
    assert handled.payloads == [str(i) for i in range(200)]
    assert handled.deliveries[7].attempt == 2


async def test_a_failed_message_of_a_key_holds_back_its_key_only(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_KEY)
    await publish(client, topic, *(Message(f"{i}", key="ab"[i % 2]) for i in range(40)))
    # The other key, and what is before the failed message.
    handled = Handled(22)

    async def handler(delivery: Delivery) -> None:
        if delivery.payload == b"4":
            # For longer than the test takes.
            delivery.nack(delay=600)
            return
        handled.note(delivery)

    consumer = client.consumer(topic, "s", concurrency=2)
    running = asyncio.create_task(consumer.run(handler))
    await within(handled.all.wait())
    await within(consumer.close())
    await within(running)
    of_key = [[number for number in map(int, handled.payloads) if number % 2 == key] for key in (0, 1)]
    assert of_key == [[0, 2], list(range(1, 40, 2))]


async def test_a_delay_holds_a_message_back(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION)
    await publish(client, topic, "a", "b")
    loop = asyncio.get_running_loop()
    nacked_at = again_at = 0.0
    handled = Handled(2)

    async def handler(delivery: Delivery) -> None:
        nonlocal nacked_at, again_at
        if delivery.attempt == 1 and delivery.payload == b"a":
            nacked_at = loop.time()
            assert await delivery.nack(delay=0.4, reason="later") is True
            return
        again_at = again_at or loop.time()
        handled.note(delivery)

    consumer = client.consumer(topic, "s")
    running = asyncio.create_task(consumer.run(handler))
    await within(handled.all.wait())
    await within(consumer.close())
    await within(running)
    assert handled.payloads == ["a", "b"]
    assert again_at - nacked_at >= 0.39


async def test_the_last_attempt_and_the_hopeless_go_to_the_dead_letters(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION, max_attempts=2, backoff_ms=5)
    await publish(client, topic, "fails", "hopeless", "good")
    handled = Handled(1)

    async def handler(delivery: Delivery) -> None:
        if delivery.payload == b"fails":
            raise ValueError("always")
        if delivery.payload == b"hopeless":
            assert await delivery.dead_letter("no such customer") is True
            assert await delivery.ack() is False, "what was done first counts"
            return
        handled.note(delivery)

    consumer = client.consumer(topic, "s")
    running = asyncio.create_task(consumer.run(handler))
    await within(handled.all.wait())
    await within(consumer.close())
    await within(running)
    await within(_until_settled(client, topic))
    dead_letters = list((await stored(client, f"{topic}.s.dead-letter")).values())
    assert sorted(letter.payload for letter in dead_letters) == [b"fails", b"hopeless"]
    reasons = {letter.payload: letter.headers["sluice-dead-letter-reason"] for letter in dead_letters}
    assert reasons[b"hopeless"] == "no such customer"


async def _until_settled(client: Client, topic: str) -> None:
    while await backlog_of(client, topic, "s") > 0:
        await asyncio.sleep(0.01)


async def test_leases_of_long_handlers_are_extended(client: Client, topic: str) -> None:
    # Short enough to wait for its end, and so long that a machine with busy cores extends it in time.
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION, ack_deadline_ms=4_000)
    await create_subscription(client, topic, "control", ack_deadline_ms=4_000)
    await publish(client, topic, "long", "queued")
    handled = Handled(2)
    began, lapsed = asyncio.Event(), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        if delivery.payload == b"long":
            began.set()
            await lapsed.wait()
            assert delivery.is_held
            assert await delivery.ack() is True
        handled.note(delivery)

    consumer = client.consumer(topic, "s")
    running = asyncio.create_task(consumer.run(handler))
    await within(began.wait())
    # A lease of the same length that began later, and is not extended, is over before the handler returns.
    async with client.consumer(topic, "control", extend_leases=False) as control:
        delivery = await within(anext(aiter(control)))
        await within(delivery.revoked.wait())
    lapsed.set()
    await within(handled.all.wait())
    await within(consumer.close())
    await within(running)
    assert handled.payloads == ["long", "queued"]
    assert all(delivery.attempt == 1 for delivery in handled.deliveries)


async def test_an_acknowledgement_that_comes_too_late_is_stale(client: Client, topic: str) -> None:
    await create_subscription_with_topic(client, topic, ORDERING_PARTITION, ack_deadline_ms=60_000, backoff_ms=5)
    await publish(client, topic, "slow")
    handled = Handled(1)
    late: list[bool] = []
    began = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            began.set()
            await within(delivery.revoked.wait())
            late.append(await delivery.ack())
            return
        handled.note(delivery)
        late.append(await delivery.ack())

    consumer = client.consumer(topic, "s", extend_leases=False)
    running = asyncio.create_task(consumer.run(handler))
    await within(began.wait())
    await end_lease(client, topic, 0)
    await within(handled.all.wait())
    await until(lambda: len(late) == 2)
    assert late == [False, True]
    await within(consumer.close())
    await within(running)
