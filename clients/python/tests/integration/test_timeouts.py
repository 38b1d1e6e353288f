"""`retry_timeout_ms` holds whatever the broker does: here its process is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator

from sluice import RETRY_TIMEOUT, Client, Producer, SluiceError
from tests.support.broker import Broker
from tests.support.waiting import within

TIMEOUT_MS = 2_000


@contextlib.contextmanager
def stopped(broker: Broker) -> Iterator[None]:
    broker.stop()
    try:
        yield
    finally:
        broker.resume()


async def timed(act: Awaitable[object]) -> str:
    """`stored` or the reason, and whether that came about in time. A busy machine delays both clocks."""
    early = asyncio.ensure_future(asyncio.sleep((TIMEOUT_MS - 100) / 1000))
    late = asyncio.ensure_future(asyncio.sleep((TIMEOUT_MS + 1_000) / 1000))
    try:
        await act
        result = "stored"
    except SluiceError as error:
        result = error.reason
    when = "early" if not early.done() else "late" if late.done() else "in time"
    early.cancel()
    late.cancel()
    return f"{result} {when}"


async def send_after(producer: Producer, delay_s: float) -> str:
    await asyncio.sleep(delay_s)
    return await timed(producer.send("x"))


async def test_each_send_takes_as_long_as_it_may(own_broker: Broker) -> None:
    async with Client(own_broker.address) as client:
        producer = await client.producer("t", when_full="fail", retry_timeout_ms=TIMEOUT_MS).open()
        await within(producer.send("ok"))
        with stopped(own_broker):
            outcomes = await asyncio.gather(*(send_after(producer, delay_s) for delay_s in (0, 0.7, 1.4)))
            assert outcomes == [f"{RETRY_TIMEOUT} in time"] * 3
        while not (await timed(producer.send("later"))).startswith("stored"):
            pass
        last = await within(producer.send("last"))
        assert last.offset is not None
        assert producer.last_sequence == last.offset + 1, "each number is one message"
        await within(producer.close())


async def test_also_in_line_and_before_the_linger_and_so_does_close(own_broker: Broker) -> None:
    async with Client(own_broker.address) as client:
        producer = client.producer("t", retry_timeout_ms=TIMEOUT_MS, buffer_max_bytes=1, linger_ms=60_000)
        await within(producer.open())
        with stopped(own_broker):
            sending = [asyncio.create_task(send_after(producer, delay_s)) for delay_s in (0, 0.4, 0.8)]
            await asyncio.sleep(0.9)
            closed = await timed(producer.close())
            assert closed != "stored late"
            assert await asyncio.gather(*sending) == [f"{RETRY_TIMEOUT} in time"] * 3
