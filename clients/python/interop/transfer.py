"""`produce` and `consume`: the messages of a case, to and from any other client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from cases import CaseMessage
from sluice import Client, Delivery, Producer, Receipt, SettlementResult, SluiceError, StatusCode
from sluice.v1 import GetSubscriptionRequest

POLL_S = 0.02


async def produce(client: Client, topic: str, messages: list[CaseMessage]) -> dict[str, Any]:
    """One `send` each, in order; waits for every receipt."""
    sending: list[asyncio.Future[Receipt]] = []
    async with await open_producer(client, topic) as producer:
        for message in messages:
            await producer.room()
            outgoing = message.outgoing
            sending.append(
                producer.send(
                    outgoing.payload, key=outgoing.key, headers=outgoing.headers, event_time=outgoing.event_time
                )
            )
        receipts = await asyncio.gather(*sending)
    places = [None if r.is_duplicate or r.partition is None else [r.partition, r.offset] for r in receipts]
    return {"sent": len(messages), "receipts": places}


async def open_producer(client: Client, topic: str) -> Producer:
    """Also while the broker is away: it comes back."""
    while True:
        try:
            return await client.producer(topic).open()
        except SluiceError as error:
            if error.code not in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
                raise
        await asyncio.sleep(POLL_S)


class Check:
    """Compares what comes with what was sent, and records which acknowledgements are durable."""

    def __init__(self, messages: list[CaseMessage]) -> None:
        self._messages = messages
        self._wanted: dict[tuple[bytes, bytes], list[int]] = {}
        """Indexes of the messages that may be meant by a key and a payload, in their order."""
        for index, message in enumerate(messages):
            self._wanted.setdefault((message.key, message.payload), []).append(index)
        self._index_at: dict[tuple[int, int], int] = {}
        self._last_of_key: dict[bytes, int] = {}
        self._durable: set[tuple[int, int]] = set()
        self._results: deque[tuple[Delivery, SettlementResult]] = deque()
        self.received = 0
        self.redelivered = 0
        self.problems: list[str] = []

    async def handle(self, delivery: Delivery) -> None:
        place = (delivery.partition, delivery.offset)
        if place in self._durable:
            self._problem(delivery, "comes again although its acknowledgement is durable")
        if place in self._index_at:
            self.redelivered += 1
        else:
            self.received += 1
            self._first_time(delivery, place)
        self._results.append((delivery, delivery.ack()))

    def _first_time(self, delivery: Delivery, place: tuple[int, int]) -> None:
        indexes = self._wanted.get((delivery.key, delivery.payload))
        if not indexes:
            self._problem(delivery, f"was never sent: key {delivery.key[:40]!r}, payload {delivery.payload[:40]!r}")
            self._index_at[place] = -1
            return
        alike = [index for index in indexes if self._messages[index].differs_from(delivery) is None]
        index = (alike or indexes)[0]
        indexes.remove(index)
        self._index_at[place] = index
        difference = self._messages[index].differs_from(delivery)
        if difference is not None:
            self._problem(delivery, difference)
        if delivery.key:
            if index < self._last_of_key.get(delivery.key, -1):
                self._problem(delivery, f"its key {delivery.key[:40]!r} is out of order")
            self._last_of_key[delivery.key] = index

    async def until_durable(self, is_caught_up: Callable[[], Awaitable[bool]]) -> None:
        """
        Every message has been handled, and its acknowledgement is durable. Where a broken stream has swallowed the
        answer of one that was, its message does not come again: then the broker is asked.
        """
        while len(self._durable) < len(self._messages):
            if not self._results:
                await asyncio.sleep(POLL_S)
                if not self._results and self.received == len(self._messages) and await is_caught_up():
                    return
                continue
            delivery, result = self._results.popleft()
            if await result:
                self._durable.add((delivery.partition, delivery.offset))

    def _problem(self, delivery: Delivery, text: str) -> None:
        if len(self.problems) < 100:
            self.problems.append(f"partition {delivery.partition}, offset {delivery.offset}: {text}")


async def consume(client: Client, topic: str, subscription: str, messages: list[CaseMessage]) -> dict[str, Any]:
    """With a handler, until every acknowledgement is durable."""
    check = Check(messages)

    async def is_caught_up() -> bool:
        request = GetSubscriptionRequest(topic=topic, name=subscription)
        try:
            found = await client.admin.get_subscription(request, timeout=5)
        except SluiceError:
            # It is down: asked again later.
            return False
        return all(p.backlog_message_count == 0 for p in found.subscription.partitions)

    consumer = client.consumer(topic, subscription)
    running = asyncio.create_task(consumer.run(check.handle))
    settling = asyncio.create_task(check.until_durable(is_caught_up))
    await asyncio.wait([running, settling], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        settling.cancel()
        await running
    await settling
    await consumer.close()
    await running
    return {"received": check.received, "redelivered": check.redelivered, "problems": check.problems}
