"""`bench`: how fast this client is."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from time import perf_counter
from typing import Any

from sluice import Client, Delivery, ErrorReason, Receipt, SluiceError
from sluice.v1 import ListConsumersRequest

BURST = 256
"""Messages between two looks at whether there is room."""


async def bench_publish(client: Client, topic: str, count: int, payload_bytes: int) -> dict[str, Any]:
    """From the first send to the last receipt."""
    payload = bytes(payload_bytes)
    async with client.producer(topic) as producer:
        begin = perf_counter()
        sending: list[asyncio.Future[Receipt]] = []
        for i in range(count):
            if i % BURST == 0:
                # The event loop has other work, too.
                await asyncio.sleep(0)
                await producer.room()
            sending.append(producer.send(payload))
        await producer.flush()
        elapsed = perf_counter() - begin
        for future in sending:
            future.result()
    return {"messages": count, "seconds": elapsed}


async def bench_consume(client: Client, topic: str, subscription: str, count: int) -> dict[str, Any]:
    """From the first delivery to the last durable acknowledgement."""
    consumer = client.consumer(topic, subscription)
    handled = 0
    begin = 0.0
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        nonlocal handled, begin
        if handled == 0:
            begin = perf_counter()
        handled += 1
        if handled == count:
            done.set()

    running = asyncio.create_task(consumer.run(handle))
    waiting = asyncio.create_task(done.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        await running
    await consumer.flush()
    elapsed = perf_counter() - begin
    await consumer.close()
    await running
    return {"messages": count, "seconds": elapsed}


async def bench_latency(
    client: Client, topic: str, subscription: str, *, rate: float, seconds: float, warmup: float, payload_bytes: int
) -> dict[str, Any]:
    """A message's time runs from the moment when it was due: one that is sent late waits as well."""
    uncounted = int(rate * warmup)
    count = uncounted + int(rate * seconds)
    published: list[float] = []
    delivered: list[float] = []
    done = asyncio.Event()
    begin = 0.0

    async def handle(delivery: Delivery) -> None:
        (index,) = struct.unpack_from("<I", delivery.payload)
        delivered.append(perf_counter() - begin - index / rate)
        if len(delivered) == count:
            done.set()

    def note(due: float, _: asyncio.Future[Receipt]) -> None:
        published.append(perf_counter() - due)

    consumer = client.consumer(topic, subscription, start="latest")
    running = asyncio.create_task(consumer.run(handle))
    await wait_for_session(client, topic, subscription)
    async with client.producer(topic) as producer:
        rest = bytes(max(0, payload_bytes - 4))
        begin = perf_counter()
        for i in range(count):
            due = begin + i / rate
            while (early := due - perf_counter()) > 0:
                await asyncio.sleep(early)
            sent = producer.send(struct.pack("<I", i) + rest)
            sent.add_done_callback(partial(note, due))
            if i % BURST == 0:
                await asyncio.sleep(0)
        await producer.flush()
        await done.wait()
    await consumer.close()
    await running
    # They come in order, nearly.
    published, delivered = published[uncounted:], delivered[uncounted:]
    return {"messages": len(published), "publish": percentiles(published), "deliver": percentiles(delivered)}


async def wait_for_session(client: Client, topic: str, subscription: str) -> None:
    """Until the broker knows the consumer: what is sent before would not count."""
    while True:
        try:
            found = await client.admin.list_consumers(ListConsumersRequest(topic=topic, subscription=subscription))
            if found.consumers:
                return
        except SluiceError as error:
            if error.reason not in (ErrorReason.TOPIC_NOT_FOUND, ErrorReason.SUBSCRIPTION_NOT_FOUND):
                raise
        await asyncio.sleep(0.01)


def percentiles(times_s: list[float]) -> dict[str, float]:
    ordered = sorted(times_s)

    def at(part: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000, 3)

    return {"p50Ms": at(0.5), "p99Ms": at(0.99), "maxMs": at(1)}
