"""Messages to handle, and a handler that notes them."""

from __future__ import annotations

import asyncio

from sluice import Client, Delivery, Message
from sluice.v1 import Ordering
from tests.support.topics import create_subscription, create_topic
from tests.support.waiting import within


async def publish(client: Client, topic: str, *messages: Message | str, partition: int | None = None) -> None:
    async with client.producer(topic, partition=partition) as producer:
        await within(producer.send_many(messages))


class Handled:
    """Notes what was handled, and when it was enough."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.deliveries: list[Delivery] = []
        self.all = asyncio.Event()

    @property
    def payloads(self) -> list[str]:
        return [delivery.payload.decode() for delivery in self.deliveries]

    def note(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if len(self.deliveries) >= self._wanted:
            self.all.set()

    async def __call__(self, delivery: Delivery) -> None:
        self.note(delivery)


async def create_subscription_with_topic(client: Client, topic: str, ordering: Ordering, **settings: int) -> None:
    await create_topic(client, topic)
    await create_subscription(client, topic, "s", ordering=ordering, **settings)
