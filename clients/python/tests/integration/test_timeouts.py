"""`retry_timeout` holds whatever the broker does: here its process is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator

from sluice import RETRY_TIMEOUT, Client, Producer, SluiceError
from tests.support.broker import Broker
from tests.support.waiting import within

TIMEOUT_S = 2.0


@contextlib.contextmanager
def stopped(broker: Broker) -> Iterator[None]:
    broker.stop()
    try:
        yield
    finally:
        broker.resume()


async def timed(act: Awaitable[object]) -> str:
    """`stored` or the reason, and whether that came about in time.

    A timer of the same length begins at the same moment: what a busy machine adds to the one, it adds to the other.
    """
    loop = asyncio.get_running_loop()
    began_at = loop.time()

    async def timer() -> float:
        await asyncio.sleep(TIMEOUT_S)
        return loop.time()

    timing = asyncio.create_task(timer())
    try:
        await act
        result = "stored"
    except SluiceError as error:
        result = error.reason
    ended_at = loop.time()
    if ended_at < began_at + TIMEOUT_S - 0.1:
        timing.cancel()
        return f"{result} early"
    return f"{result} late" if ended_at > await timing + 1 else f"{result} in time"


async def send_after(producer: Producer, delay_s: float, sent: asyncio.Event | None = None) -> str:
    await asyncio.sleep(delay_s)
    sending = producer.send("x")
    if sent is not None:
        sent.set()
    return await timed(sending)


async def test_each_send_takes_as_long_as_it_may(own_broker: Broker) -> None:
    async with Client(own_broker.address) as client:
        producer = await client.producer("t", when_full="fail", retry_timeout=TIMEOUT_S).open()
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
        producer = client.producer("t", retry_timeout=TIMEOUT_S, buffer_max_bytes=1, linger=60)
        await within(producer.open())
        with stopped(own_broker):
            sent = [asyncio.Event() for _ in range(3)]
            sending = [asyncio.create_task(send_after(producer, 0.4 * i, sent[i])) for i in range(3)]
            for each in sent:
                await within(each.wait())
            closed = await timed(producer.close())
            assert closed != "stored late"
            assert await asyncio.gather(*sending) == [f"{RETRY_TIMEOUT} in time"] * 3
