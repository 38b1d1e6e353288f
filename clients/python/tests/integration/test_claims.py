"""The name of a producer belongs to one process: no receipt without a stored message."""

from __future__ import annotations

import asyncio

import pytest

from sluice import RETRY_TIMEOUT, Client, ErrorReason, Producer, SluiceError, StatusCode
from sluice.v1 import GetProducerRequest, OpenProducerRequest, OpenProducerResponse
from tests.support.broker import Broker
from tests.support.fake_broker import Context, FakeBroker
from tests.support.holding_proxy import holding_proxy
from tests.support.topics import stored
from tests.support.waiting import until, within

FENCED = ErrorReason.PRODUCER_FENCED


async def outcome(producer: Producer, payload: str) -> str:
    """`stored`, `duplicate`, or the reason."""
    try:
        receipt = await within(producer.send(payload))
    except SluiceError as error:
        return error.reason
    return "duplicate" if receipt.is_duplicate else "stored"


async def payloads(client: Client, topic: str) -> list[str]:
    return [message.payload.decode() for message in (await stored(client, topic)).values()]


async def test_one_of_two_that_open_together_is_fenced(shared_broker: Broker, topic: str) -> None:
    async with Client(shared_broker.address) as one, Client(shared_broker.address) as other:
        opening = [client.producer(topic, producer_id="web").open() for client in (one, other)]
        producers = await within(asyncio.gather(*opening))
        received: list[str] = []
        outcomes: list[set[str]] = [set(), set()]
        for i in range(100):
            result = await outcome(producers[i % 2], f"m-{i}")
            outcomes[i % 2].add(result)
            if result == "stored":
                received.append(f"m-{i}")
        assert sorted(outcomes, key=str) == [{FENCED}, {"stored"}]
        assert await payloads(one, topic) == received
        for producer in producers:
            await within(producer.close())


async def test_one_that_opens_while_an_older_one_sends_takes_over(client: Client, topic: str) -> None:
    older = await client.producer(topic, producer_id="web").open()
    assert await outcome(older, "A") == "stored"
    newer = await client.producer(topic, producer_id="web").open()
    assert newer.last_sequence == 1
    assert await outcome(older, "B") == FENCED
    outcomes = [await outcome(newer, payload) for payload in "DEF"]
    assert outcomes == ["stored"] * 3
    with pytest.raises(SluiceError) as caught:
        older.send("C")
    assert caught.value.reason == FENCED
    assert await payloads(client, topic) == ["A", "D", "E", "F"]
    await within(newer.close())
    await within(older.close())


async def test_a_claim_is_kept_through_a_kill_before_the_first_message(own_broker: Broker) -> None:
    async with Client(own_broker.address) as client:
        older = await client.producer("t", producer_id="web").open()
        assert await outcome(older, "A") == "stored"
        newer = await client.producer("t", producer_id="web").open()
        await own_broker.restart()
        assert await outcome(newer, "C") == "stored"
        await until(lambda: older._end is not None)
        with pytest.raises(SluiceError) as caught:
            older.send("B")
        assert caught.value.reason == FENCED
        assert await payloads(client, "t") == ["A", "C"]
        await within(newer.close())
        await within(older.close())


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_batch_that_was_given_up_is_not_taken_for_the_next_one(
    shared_broker: Broker, client: Client, topic: str, is_stored: bool
) -> None:
    async with holding_proxy(shared_broker.address) as proxy, Client(proxy.address) as behind:
        producer = await behind.producer(topic, producer_id="web", retry_timeout=3).open()
        assert await outcome(producer, "1") == "stored"
        if is_stored:
            proxy.swallow_answers()
        else:
            proxy.hold()
        assert await outcome(producer, "given up") == RETRY_TIMEOUT
        # Over a new connection the claim is renewed; what the old one holds arrives afterwards.
        proxy.abandon()

        async def renewed() -> None:
            request = GetProducerRequest(topic=topic, producer_id="web")
            while (await client.broker.get_producer(request)).epoch < 2:
                await asyncio.sleep(0.01)

        await within(renewed())
        await proxy.release()
        assert await outcome(producer, "2") == "stored"
        assert await outcome(producer, "3") == "stored"
        assert await payloads(client, topic) == (["1", "given up", "2", "3"] if is_stored else ["1", "2", "3"])
        assert producer.last_sequence == (4 if is_stored else 3)
        await within(producer.close())


async def test_a_claim_is_repeated_with_one_number_and_an_old_broker_is_named(fake: FakeBroker) -> None:
    claims: list[int] = []

    async def lose(request: bytes, context: Context) -> bytes:
        claims.append(OpenProducerRequest.FromString(request).claim_id)
        if len(claims) % 3 != 0:
            code = StatusCode.RESOURCE_EXHAUSTED if len(claims) % 3 == 1 else StatusCode.UNAVAILABLE
            await context.abort(code, "lost")
        return OpenProducerResponse(epoch=1).SerializeToString()

    async def refuse(_: bytes, context: Context) -> bytes:
        await context.abort(StatusCode.UNIMPLEMENTED, "what?")
        raise AssertionError

    fake.answers["OpenProducer"] = lose
    async with Client(fake.address) as client:
        for _ in range(2):
            producer = await within(client.producer("t", retry_min_backoff=0.001).open())
            await within(producer.close())
        assert claims[:3] == [claims[0]] * 3
        assert claims[3:] == [claims[3]] * 3
        assert claims[0] != claims[3]
        assert all(0 < each < 2**53 for each in claims)
        fake.answers["OpenProducer"] = refuse
        with pytest.raises(SluiceError, match="update the broker") as caught:
            await within(client.producer("t").open())
        assert caught.value.code == StatusCode.UNIMPLEMENTED
