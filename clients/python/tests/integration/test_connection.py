"""TLS, tokens, deadlines, cancellation, and the generated calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import trustme

from sluice import Client, Delivery, ErrorReason, SluiceError, StatusCode, Tls
from sluice.v1 import (
    CreateTopicRequest,
    FlowControl,
    GetServerInfoRequest,
    GetSubscriptionRequest,
    GetTopicRequest,
    Message,
    PublishRequest,
    PublishStreamRequest,
    ReadRequest,
    SubscribeRequest,
    Topic,
)
from tests.support.broker import Broker, free_port
from tests.support.fake_broker import Context, FakeBroker, FakeSession
from tests.support.tls_proxy import tls_proxy
from tests.support.topics import create_topic
from tests.support.waiting import until, within

CA = trustme.CA()
CA_PEM = CA.cert_pem.bytes()


async def send_and_receive(client: Client, topic: str) -> None:
    async with client.producer(topic) as producer:
        await within(producer.send("over TLS"))
    async with client.consumer(topic, "s") as consumer:
        delivery = await within(anext(aiter(consumer)))
        assert delivery.payload == b"over TLS"
        assert await within(delivery.ack())


async def test_tls_with_an_own_authority(shared_broker: Broker, topic: str) -> None:
    async with (
        tls_proxy(shared_broker.address, CA, "127.0.0.1", asks_client=False) as address,
        Client(address, tls=Tls(ca=CA_PEM)) as client,
    ):
        await send_and_receive(client, topic)


async def test_tls_with_another_name_and_a_certificate_of_the_client(shared_broker: Broker, topic: str) -> None:
    own = CA.issue_cert("client.example")
    key, cert = own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
    async with tls_proxy(shared_broker.address, CA, "broker.example", asks_client=True) as address:
        tls = Tls(ca=CA_PEM, cert=cert, key=key, server_name="broker.example")
        async with Client(address, tls=tls) as client:
            await send_and_receive(client, topic)
        async with Client(address, tls=Tls(ca=CA_PEM, server_name="broker.example")) as client:
            with pytest.raises(SluiceError) as caught:
                await within(client.admin.get_server_info(GetServerInfoRequest()))
            assert caught.value.code == StatusCode.UNAVAILABLE, "it shows no certificate"


@pytest.mark.parametrize(
    "tls", [True, Tls(ca=trustme.CA().cert_pem.bytes()), Tls(ca=CA_PEM, server_name="else.example")]
)
async def test_a_broker_that_is_not_who_it_should_be_is_refused(shared_broker: Broker, tls: bool | Tls) -> None:
    async with (
        tls_proxy(shared_broker.address, CA, "127.0.0.1", asks_client=False) as address,
        Client(address, tls=tls) as client,
    ):
        with pytest.raises(SluiceError) as caught:
            await within(client.admin.get_server_info(GetServerInfoRequest()))
        assert caught.value.code == StatusCode.UNAVAILABLE


async def test_metadata_goes_with_every_call(fake: FakeBroker) -> None:
    async def script(session: FakeSession) -> None:
        await session.open()
        await session.has_left.wait()

    fake.script = script
    tokens = iter(range(100))

    async def metadata() -> Mapping[str, str]:
        return {"Authorization": f"Bearer {next(tokens)}"}

    async with Client(fake.address, metadata=metadata) as client:
        await client.admin.get_topic(GetTopicRequest(name="t"), metadata={"x-call": "one"})
        async with client.consumer("t", "s") as consumer:
            waiting = asyncio.create_task(anext(aiter(consumer)))
            await until(lambda: len(fake.metadata) >= 3)
            waiting.cancel()
    assert fake.metadata[0]["x-call"] == "one"
    sent = [metadata["authorization"] for metadata in fake.metadata]
    assert sent == ["Bearer 0", "Bearer 1", "Bearer 2"], "a new one for every call"
    async with Client(fake.address, metadata={"authorization": "Bearer fixed"}) as client:
        await client.admin.get_topic(GetTopicRequest(name="t"))
    assert fake.metadata[-1]["authorization"] == "Bearer fixed"


async def test_a_producer_that_may_not_publish_is_over(fake: FakeBroker) -> None:
    async def refuse(_: bytes, context: Context) -> bytes:
        await context.abort(StatusCode.PERMISSION_DENIED, "not you")
        raise AssertionError

    fake.answers["OpenProducer"] = refuse
    async with Client(fake.address) as client:
        with pytest.raises(SluiceError) as caught:
            await client.producer("t").open()
        assert caught.value.code == StatusCode.PERMISSION_DENIED


async def test_a_token_that_is_not_to_be_had_is_said_so(fake: FakeBroker) -> None:
    def metadata() -> Mapping[str, str]:
        raise OSError("the vault is sealed")

    async with Client(fake.address, metadata=metadata) as client:
        with pytest.raises(SluiceError, match="the vault is sealed") as caught:
            await client.admin.get_topic(GetTopicRequest(name="t"))
        assert caught.value.code == StatusCode.UNAVAILABLE


async def test_deadlines_and_cancellation_reach_the_broker(fake: FakeBroker) -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()
    asked = asyncio.Event()

    async def hang(_: bytes, context: Context) -> bytes:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait("cancelled")
        raise AssertionError

    fake.answers["GetTopic"] = hang
    async with Client(fake.address) as client:
        # The connection is there: the call reaches the broker before its time is over.
        await client.admin.get_subscription(GetSubscriptionRequest(topic="t", name="s"))
        with pytest.raises(SluiceError) as caught:
            await client.admin.get_topic(GetTopicRequest(name="t"), timeout=1)
        assert caught.value.code == StatusCode.DEADLINE_EXCEEDED
        await within(ended.get())
        asked.clear()
        call = asyncio.create_task(client.admin.get_topic(GetTopicRequest(name="t")))
        await within(asked.wait())
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(call)
        await within(ended.get())


async def test_what_is_not_there_is_unavailable(topic: str) -> None:
    async with Client(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(SluiceError) as caught:
            await within(client.producer(topic, retry_timeout=2).open())
        assert (caught.value.code, caught.value.reason) == (StatusCode.UNAVAILABLE, "UNAVAILABLE")


async def test_errors_carry_what_the_broker_says(client: Client, topic: str) -> None:
    with pytest.raises(SluiceError) as caught:
        await client.admin.get_topic(GetTopicRequest(name=topic))
    assert (caught.value.code, caught.value.reason) == (StatusCode.NOT_FOUND, ErrorReason.TOPIC_NOT_FOUND)
    with pytest.raises(SluiceError) as invalid:
        await client.admin.create_topic(CreateTopicRequest(topic=Topic(name="no blanks please")))
    assert invalid.value.reason == ErrorReason.INVALID_NAME
    assert invalid.value.field_violations[0].field == "topic.name"
    with pytest.raises(SluiceError) as read:
        async for _ in client.broker.read(ReadRequest(topic=topic)):
            pass
    assert read.value.reason == ErrorReason.TOPIC_NOT_FOUND


async def test_every_kind_of_call(client: Client, topic: str) -> None:
    await create_topic(client, topic)

    async def batches() -> AsyncIterator[PublishRequest]:
        yield PublishRequest(topic=topic, messages=[Message(payload=b"1")])
        yield PublishRequest(messages=[Message(payload=b"2"), Message(payload=b"3")])

    published = await client.broker.publish(batches())
    assert published.message_count == 3

    async def bad_batches() -> AsyncIterator[PublishRequest]:
        yield PublishRequest(topic=topic, messages=[Message(payload=b"4")])
        yield PublishRequest(messages=[Message(headers={"sluice-x": "y"})])

    with pytest.raises(SluiceError) as caught:
        await client.broker.publish(bad_batches())
    assert caught.value.publish_failure is not None
    assert caught.value.publish_failure.durable_request_count == 1

    async def stream() -> AsyncIterator[PublishStreamRequest]:
        yield PublishStreamRequest(topic=topic, batch_id=9, messages=[Message(payload=b"5")])

    assert [receipt.batch_id async for receipt in client.broker.publish_stream(stream())] == [9]
    request = SubscribeRequest(topic=topic, subscription="s", flow_control=FlowControl(max_outstanding_messages=10))
    payloads: list[bytes] = []
    async for response in client.broker.subscribe(request):
        payloads += [message.payload for run in response.runs for message in run.messages]
        if len(payloads) == 5:
            break
    assert payloads == [b"1", b"2", b"3", b"4", b"5"]


async def test_a_trace_goes_on_from_message_to_message(client: Client, topic: str) -> None:
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    passed_on: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()
    async with client.producer(topic) as producer, client.producer(f"{topic}-next") as following:
        consumer = client.consumer(topic, "s")
        last = client.consumer(f"{topic}-next", "s")

        async def forward(delivery: Delivery) -> None:
            await following.send("second", headers=delivery.headers)

        async def arrive(delivery: Delivery) -> None:
            passed_on.set_result(delivery.headers)

        running = [asyncio.create_task(consumer.run(forward)), asyncio.create_task(last.run(arrive))]
        await within(producer.send("first", headers=trace))
        assert await within(passed_on) == trace
        await within(asyncio.gather(consumer.close(), last.close(), *running))
