"""The consumer against a broker that says what the test wants: what it does on the wire, in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from sluice import Client, Consumer, Delivery, SluiceError, StatusCode
from sluice.v1 import ORDERING_KEY, ConsumeResponse, OffsetRange, PartitionAssignment
from tests.support.fake_broker import FakeBroker, FakeSession
from tests.support.waiting import until, within


@asynccontextmanager
async def consuming(
    fake: FakeBroker, handler: Callable[[Delivery], Awaitable[None]], **settings: object
) -> AsyncIterator[tuple[Consumer, FakeSession]]:
    """A consumer that runs, and the broker's side of its first session."""
    started: asyncio.Future[FakeSession] = asyncio.get_running_loop().create_future()

    async def script(session: FakeSession) -> None:
        await session.open(ack_deadline_s=float(str(settings.get("ack_deadline_s", 30))))
        if not started.done():
            started.set_result(session)
        await session.has_left.wait()

    fake.script = fake.script or script
    given = {name: value for name, value in settings.items() if name != "ack_deadline_s"}
    async with Client(fake.address) as client:
        consumer = client.consumer("t", "s", **given)  # type: ignore[arg-type]
        running = asyncio.create_task(consumer.run(handler))
        session = await within(started)
        try:
            yield consumer, session
        finally:
            # The broker ends the stream: it does not answer any more.
            running.cancel()
            session.has_left.set()
            await asyncio.wait([running])


class Log:
    """A handler that notes what it gets, and is held where a test wants it."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.deliveries: dict[str, Delivery] = {}
        self.gates: dict[str, asyncio.Event] = {}

    def hold(self, payload: str) -> asyncio.Event:
        return self.gates.setdefault(payload, asyncio.Event())

    async def __call__(self, delivery: Delivery) -> None:
        payload = delivery.payload.decode()
        self.began.append(payload)
        self.deliveries[payload] = delivery
        if payload in self.gates:
            await self.gates[payload].wait()
        if payload.startswith("bad"):
            raise ValueError(f"no use: {payload}")


async def test_acknowledgements_go_as_ranges(fake: FakeBroker) -> None:
    log = Log()
    # So much credit that acknowledgements are not in a hurry.
    async with consuming(fake, log, concurrency=100) as (_, session):
        await session.deliver("a", "b", "c")
        await session.deliver("d", "e", partition=2, first=7)
        request_id, settlements = await session.next_settlements()
        found = {(s.offsets.partition, s.offsets.first_offset, s.offsets.last_offset) for s in settlements}
        if len(found) == 1:
            # The frames came far apart.
            _, more = await session.next_settlements()
            found |= {(s.offsets.partition, s.offsets.first_offset, s.offsets.last_offset) for s in more}
        assert found == {(0, 0, 2), (2, 7, 8)}
        assert request_id > 0


async def test_acknowledgements_do_not_wait_when_much_of_the_credit_is_used(fake: FakeBroker) -> None:
    settings = {"ack_interval": 3_600, "max_outstanding_messages": 40, "concurrency": 20}
    async with consuming(fake, Log(), **settings) as (_, session):
        await session.deliver(*(str(i) for i in range(10)))
        _, settlements = await session.next_settlements()
        assert settlements[0].offsets.last_offset == 9


async def test_behind_a_nack_nothing_begins_before_the_answer(fake: FakeBroker) -> None:
    log = Log()
    async with consuming(fake, log) as (_, session):
        await session.deliver("a", "bad", "c", "d")
        acked, (ack,) = await session.next_settlements()
        assert ack.WhichOneof("outcome") == "ack"
        nacked, (nack,) = await session.next_settlements()
        assert nacked > acked, "what was done before the nack is sent before it"
        assert nack.nack.reason == "no use: bad"
        assert nack.offsets.first_offset == 1
        # What the broker took back is dropped; what is left of the queue goes on; then the redelivery.
        await session.revoke(1, 2)
        await session.deliver("other partition", partition=1, first=0)
        await until(lambda: "other partition" in log.began)
        assert log.began == ["a", "bad", "other partition"]
        await session.settled(nacked)
        await session.deliver("bad again, mended"[4:], first=1, attempt=2)
        await until(lambda: len(log.began) == 5)
        assert log.began == ["a", "bad", "other partition", "d", "again, mended"]
        assert log.deliveries["again, mended"].attempt == 2


async def test_a_nack_of_a_key_holds_up_no_other_key(fake: FakeBroker) -> None:
    fake.ordering = ORDERING_KEY
    log = Log()
    async with consuming(fake, log, concurrency=4) as (_, session):
        await session.deliver("bad", key=b"k")
        await session.deliver("behind", key=b"k")
        nacked, _ = await session.next_settlements()
        await session.deliver("other", key=b"l")
        await session.deliver("free")
        await until(lambda: {"other", "free"} <= set(log.began))
        assert "behind" not in log.began
        await session.settled(nacked)
        await until(lambda: "behind" in log.began)


async def test_what_is_taken_back_is_told_to_the_handler(fake: FakeBroker) -> None:
    log = Log()
    gate = log.hold("long")
    async with consuming(fake, log) as (_, session):
        await session.deliver("long", "queued")
        await until(lambda: "long" in log.began)
        delivery = log.deliveries["long"]
        assert delivery.is_held
        await session.revoke(0, 1)
        await within(delivery.revoked.wait())
        assert delivery.is_revoked
        assert await delivery.ack() is False
        assert await delivery.nack() is False
        assert await delivery.extend() is False
        assert await delivery.dead_letter() is False
        # It is delivered anew, and still only one handler is at the partition.
        await session.deliver("again", first=0, attempt=2)
        await session.deliver("probe", partition=1, first=0)
        gate.set()
        await until(lambda: "probe" in log.began and "again" in log.began)
        assert "queued" not in log.began
        _, settlements = await session.next_settlements()
        places = {(s.offsets.partition, s.offsets.first_offset) for s in settlements}
        assert places <= {(0, 0), (1, 0)}


async def test_results_tell_durable_from_stale(fake: FakeBroker) -> None:
    results: dict[str, asyncio.Task[bool]] = {}

    async def handler(delivery: Delivery) -> None:
        async def result() -> bool:
            return await delivery.ack()

        results[delivery.payload.decode()] = asyncio.create_task(result())
        await asyncio.sleep(0)

    async with consuming(fake, handler) as (_, session):
        await session.deliver("a", "b", "c")
        request_id, settlements = await session.next_settlements()
        while settlements[-1].offsets.last_offset < 2:
            await session.settled(request_id)
            request_id, settlements = await session.next_settlements()
        await session.settled(request_id, OffsetRange(partition=0, first_offset=2, last_offset=5))
        assert await within(results["a"])
        assert not await within(results["c"])


async def test_leases_of_all_that_is_held_are_extended(fake: FakeBroker) -> None:
    log = Log()
    gate = log.hold("long")
    async with consuming(fake, log, ack_deadline_s=0.3) as (_, session):
        await session.deliver("long", "queued", "too")
        _, settlements = await session.next_settlements()
        (extension,) = settlements
        assert extension.WhichOneof("outcome") == "extend"
        assert (extension.offsets.first_offset, extension.offsets.last_offset) == (0, 2)
        assert extension.extend.by.ToMilliseconds() == 300
        gate.set()


async def test_leases_are_left_alone_when_that_is_wanted(fake: FakeBroker) -> None:
    log = Log()
    gate = log.hold("long")
    async with consuming(fake, log, ack_deadline_s=0.06, extend_leases=False) as (_, session):
        await session.deliver("long")
        await until(lambda: bool(log.began))
        delivery = log.deliveries["long"]
        # An extension that comes later is not noticed: a busy machine weakens the check, and does not fail it.
        await asyncio.sleep(0.1)
        delivery.extend(by=5)
        _, (extension,) = await session.next_settlements()
        assert extension.extend.by.ToMilliseconds() == 5_000, "the first that came is the handler's own"
        gate.set()


async def test_delays_in_milliseconds_are_taken_with_a_warning(fake: FakeBroker) -> None:
    log = Log()
    gate = log.hold("long")
    async with consuming(fake, log) as (_, session):
        await session.deliver("long")
        await until(lambda: bool(log.began))
        delivery = log.deliveries["long"]
        with pytest.warns(DeprecationWarning, match="by_ms is deprecated: give by, in seconds") as found:
            delivery.extend(by_ms=5_000)
        assert found[0].filename == __file__
        _, (extension,) = await session.next_settlements()
        assert extension.extend.by.ToMilliseconds() == 5_000
        with pytest.warns(DeprecationWarning, match="delay_ms is deprecated: give delay, in seconds") as found:
            delivery.nack(delay_ms=1_500, reason="later")
        assert found[0].filename == __file__
        _, (nack,) = await session.next_settlements()
        assert nack.nack.delay.ToMilliseconds() == 1_500
        gate.set()


async def test_a_handler_of_a_lost_session_keeps_its_partition_busy(fake: FakeBroker) -> None:
    sessions: asyncio.Queue[FakeSession] = asyncio.Queue()

    async def script(session: FakeSession) -> None:
        await session.open()
        sessions.put_nowait(session)
        await session.has_left.wait()

    fake.script = script
    log = Log()
    gate = log.hold("long")
    async with Client(fake.address) as client:
        consumer = client.consumer("t", "s", concurrency=8, retry_min_backoff=0.001)
        running = asyncio.create_task(consumer.run(log))
        first = await within(sessions.get())
        await first.deliver("long", "queued")
        await until(lambda: "long" in log.began)
        old = log.deliveries["long"]
        first.has_left.set()
        second = await within(sessions.get())
        await within(old.revoked.wait())
        await second.deliver("anew", "queued again", first=0, attempt=2)
        await second.deliver("probe", partition=1, first=0)
        await until(lambda: "probe" in log.began)
        assert "anew" not in log.began, "two handlers at once for one partition"
        assert await old.ack() is False
        gate.set()
        await until(lambda: "queued again" in log.began)
        assert log.began == ["long", "probe", "anew", "queued again"]
        closing = asyncio.create_task(consumer.close())
        while not closing.done():
            # The broker answers what it is sent.
            requests = asyncio.create_task(second.requests.get())
            await asyncio.wait([requests, closing], return_when=asyncio.FIRST_COMPLETED)
            if requests.done() and requests.result().settlement_id:
                await second.settled(requests.result().settlement_id)
            requests.cancel()
        await within(running)


async def test_closing_grants_nothing_settles_and_leaves(fake: FakeBroker) -> None:
    log = Log()
    gate = log.hold("long")
    async with consuming(fake, log, ack_interval=3_600) as (consumer, session):
        await session.deliver("long", "queued")
        await until(lambda: "long" in log.began)
        closing = asyncio.create_task(consumer.close())
        await until(lambda: any(control.max_outstanding_messages == 0 for control in session.flow_controls))
        # Messages that come now belong to no session any more.
        await session.deliver("late")
        gate.set()
        request_id, (ack,) = await session.next_settlements()
        assert (ack.offsets.first_offset, ack.offsets.last_offset) == (0, 0)
        assert not session.has_left.is_set(), "it waits for the answer"
        assert not closing.done()
        await session.settled(request_id)
        await within(closing)
        assert session.has_left.is_set()
        assert log.began == ["long"]


async def test_handlers_that_take_too_long_are_cancelled(fake: FakeBroker) -> None:
    log = Log()
    log.hold("endless")
    async with consuming(fake, log, drain_timeout=0.02) as (consumer, session):
        await session.deliver("endless")
        await until(lambda: "endless" in log.began)
        await within(consumer.close())
        assert session.has_left.is_set()
        assert log.deliveries["endless"].is_revoked


@pytest.mark.parametrize(
    "code",
    [StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION, StatusCode.PERMISSION_DENIED, StatusCode.UNIMPLEMENTED],
)
async def test_what_cannot_mend_ends_the_consumer(fake: FakeBroker, code: StatusCode) -> None:
    async def script(session: FakeSession) -> None:
        await session.fail(code)

    fake.script = script
    async with Client(fake.address) as client:
        with pytest.raises(SluiceError) as caught:
            await within(client.consumer("t", "s").run(Log()))
        assert caught.value.code == code
        with pytest.raises(SluiceError):
            async for _ in client.consumer("t", "s"):
                pass


async def test_what_may_mend_is_tried_again(fake: FakeBroker) -> None:
    failures = iter([StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.INTERNAL, StatusCode.RESOURCE_EXHAUSTED])
    opened = asyncio.Event()

    async def script(session: FakeSession) -> None:
        code = next(failures, None)
        if code is not None:
            await session.fail(code)
        await session.open()
        opened.set()
        await session.has_left.wait()

    fake.script = script
    async with Client(fake.address) as client:
        consumer = client.consumer("t", "s", retry_min_backoff=0.001)
        running = asyncio.create_task(consumer.run(Log()))
        await within(opened.wait())
        assert len(fake.sessions) == 5
        await within(consumer.close())
        await within(running)


async def test_heartbeats_and_assignments_are_not_messages(fake: FakeBroker) -> None:
    log = Log()
    async with consuming(fake, log) as (_, session):
        await session.send(ConsumeResponse(assignment=PartitionAssignment(partitions=[0, 1])))
        await session.send(ConsumeResponse(heartbeat={}))
        await session.deliver("a")
        await until(lambda: log.began == ["a"])


async def test_the_iterator_holds_what_is_behind_a_nack(fake: FakeBroker) -> None:
    started: asyncio.Future[FakeSession] = asyncio.get_running_loop().create_future()

    async def script(session: FakeSession) -> None:
        await session.open()
        started.set_result(session)
        await session.has_left.wait()

    fake.script = script
    async with Client(fake.address) as client:
        consumer = client.consumer("t", "s")
        deliveries = aiter(consumer)
        first = asyncio.create_task(anext(deliveries))
        session = await within(started)
        await session.deliver("a", "b", "c")
        delivery = await within(first)
        delivery.nack(delay=1.5)
        nacked, (nack,) = await session.next_settlements()
        assert nack.nack.delay.ToMilliseconds() == 1_500
        waiting = asyncio.create_task(anext(deliveries))
        await session.deliver("elsewhere", partition=1, first=0)
        elsewhere = await within(waiting)
        assert elsewhere.payload == b"elsewhere"
        # Everything of that partition is in the caller's hands: what comes now is behind the nack all the same.
        elsewhere.nack()
        nacked_too, _ = await session.next_settlements()
        await session.deliver("behind", partition=1, first=1)
        waiting = asyncio.create_task(anext(deliveries))
        await session.revoke(0, 1)
        await session.settled(nacked)
        assert (await within(waiting)).payload == b"c"
        waiting = asyncio.create_task(anext(deliveries))
        await session.revoke(0, 1, partition=1)
        await session.settled(nacked_too)
        await session.deliver("anew", partition=1, first=0, attempt=2)
        assert (await within(waiting)).payload == b"anew"
        closing = asyncio.create_task(consumer.close())
        await within(session.has_left.wait())
        await within(closing)
        with pytest.raises(StopAsyncIteration):
            await anext(deliveries)


async def test_the_credit_is_said_again_once_more_can_be_taken_after_messages_were_taken_back(fake: FakeBroker) -> None:
    log = Log()
    gate = log.hold("long")
    async with consuming(fake, log) as (_, session):
        granted = (await within(session.requests.get())).subscribe.flow_control
        await session.deliver("long")
        await until(lambda: "long" in log.began)
        await session.revoke(0, 0)
        await within(log.deliveries["long"].revoked.wait())
        gate.set()
        assert (await within(session.requests.get())).flow_control == granted


async def test_the_credit_is_said_again_to_the_broker_when_the_caller_that_iterates_waits(fake: FakeBroker) -> None:
    started: asyncio.Future[FakeSession] = asyncio.get_running_loop().create_future()

    async def script(session: FakeSession) -> None:
        await session.open()
        started.set_result(session)
        await session.has_left.wait()

    fake.script = script
    async with Client(fake.address) as client, client.consumer("t", "s") as consumer:
        first = asyncio.ensure_future(anext(aiter(consumer)))
        session = await within(started)
        granted = (await within(session.requests.get())).subscribe.flow_control
        await session.deliver("a")
        delivery = await within(first)
        await session.revoke(0, 0)
        await within(delivery.revoked.wait())
        waiting = asyncio.ensure_future(anext(consumer))
        assert (await within(session.requests.get())).flow_control == granted
        await session.deliver("a", first=0, attempt=2)
        assert (await within(waiting)).attempt == 2


async def test_a_caller_that_gathers_slowly_is_not_held_up_by_credit_that_shrinks(fake: FakeBroker) -> None:
    started: asyncio.Future[FakeSession] = asyncio.get_running_loop().create_future()

    async def script(session: FakeSession) -> None:
        await session.open()
        started.set_result(session)
        await session.has_left.wait()

    fake.script = script
    async with Client(fake.address) as client, client.consumer("t", "s") as consumer:
        first = asyncio.ensure_future(anext(aiter(consumer)))
        session = await within(started)
        await session.deliver(*(f"{i}" for i in range(16)))
        await within(first)
        for _ in range(15):
            await within(anext(consumer))
        more = asyncio.ensure_future(anext(consumer))
        await until(lambda: any(control.max_outstanding_messages >= 32 for control in session.flow_controls))
        await session.deliver("16", "17", "18", "19")
        await within(more)
        for _ in range(3):
            await within(anext(consumer))
        said = len(session.flow_controls)
        more = asyncio.ensure_future(anext(consumer))
        # Nothing is settled, so the credit shrinks; but 20 messages are in hand, and the caller waits.
        await until(lambda: len(session.flow_controls) > said)
        assert session.flow_controls[-1].max_outstanding_messages > 20
        await session.deliver("20")
        await within(more)
