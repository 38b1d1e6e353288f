"""What a client says of its connection, and a connection that dies without a word."""

from __future__ import annotations

import asyncio
import logging

import pytest
import trustme

from sluice import Client, ConnectionState, Delivery, SluiceError, StatusCode, Tls
from sluice.v1 import GetServerInfoRequest
from tests.support.broker import Broker, free_port
from tests.support.holding_proxy import holding_proxy
from tests.support.tls_proxy import tls_proxy
from tests.support.topics import create_subscription, create_topic
from tests.support.waiting import until, within

SILENCE_LIMIT_S = 60
"""Pings of the defaults, with time for a machine that is busy."""
CA = trustme.CA()


class States:
    """What was reported."""

    def __init__(self) -> None:
        self.all: list[ConnectionState] = []
        self._queue: asyncio.Queue[ConnectionState] = asyncio.Queue()

    def note(self, state: ConnectionState) -> None:
        self.all.append(state)
        self._queue.put_nowait(state)

    async def next(self, kind: str) -> ConnectionState:
        while True:
            state = await within(self._queue.get(), SILENCE_LIMIT_S)
            if state.kind == kind:
                return state


async def nothing(_: Delivery) -> None:
    pass


async def cause_at(address: str, tls: bool | Tls = False) -> str:
    """The first cause that is reported to who runs a consumer."""
    states = States()
    async with Client(address, tls=tls, on_connection_state=states.note) as client:
        consumer = client.consumer("t", "s")
        running = asyncio.create_task(consumer.run(nothing))
        state = await states.next("waiting")
        assert not running.done(), "it goes on trying"
        await within(consumer.close())
        await within(running)
    await states.next("closed")
    return state.cause


async def test_run_says_at_the_first_failure_why_it_does_not_begin(
    own_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    states = States()
    async with Client(own_broker.address, on_connection_state=states.note) as client:
        await create_topic(client, "t")
        await create_subscription(client, "t", "s")
        async with client.producer("t") as producer:
            await within(producer.send("m"))
    await own_broker.kill()
    states = States()
    handled = asyncio.Event()

    async def handler(_: Delivery) -> None:
        handled.set()

    with caplog.at_level(logging.INFO, "sluice"):
        async with Client(own_broker.address, on_connection_state=states.note) as client:
            consumer = client.consumer("t", "s")
            running = asyncio.create_task(consumer.run(handler))
            waiting = await states.next("waiting")
            assert states.all[0].kind == "connecting"
            assert waiting.cause == f"nothing listens at {own_broker.address}"
            assert waiting.error is not None
            assert waiting.error.code == StatusCode.UNAVAILABLE
            assert waiting.next_attempt_in is not None
            await own_broker.start()
            await states.next("ready")
            await within(handled.wait())
            await within(consumer.close())
            await within(running)
    assert states.all[-1].kind == "closed"
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(waiting.cause in text for text in warned)


async def test_causes_are_in_plain_words(shared_broker: Broker) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    assert await cause_at(nowhere, tls=True) == f"nothing listens at {nowhere}"
    assert await cause_at("no-such-host.invalid:7070") == "the name no-such-host.invalid cannot be resolved"
    address = shared_broker.address
    assert await cause_at(address, tls=True) == f"the broker at {address} does not speak TLS"
    async with tls_proxy(address, CA, "broker.example", asks_client=False) as proxy:
        assert await cause_at(proxy) == f"the broker at {proxy} speaks TLS, and this client does not"
        assert (await cause_at(proxy, tls=True)).startswith("the broker's certificate is not trusted: ")
        misnamed = await cause_at(proxy, tls=Tls(ca=CA.cert_pem.bytes(), server_name="else.example"))
        assert misnamed.startswith("the broker's certificate is not trusted: ")
        assert "else.example" in misnamed


async def test_a_connection_that_is_lost_and_comes_back(own_broker: Broker) -> None:
    states = States()
    async with (
        Client(own_broker.address, on_connection_state=states.note) as client,
        client.producer("t") as producer,
    ):
        await within(producer.send("m"))
        await states.next("ready")
        await own_broker.restart()
        assert (await states.next("waiting")).cause == f"the connection to {own_broker.address} was lost"
        await within(producer.send("m"))
        await states.next("ready")


async def test_a_busy_broker_has_time_to_answer_a_new_connection(shared_broker: Broker) -> None:
    async with holding_proxy(shared_broker.address) as proxy, Client(proxy.address) as client:
        proxy.first_answer_after_s = 1.5
        found = await within(client.admin.get_server_info(GetServerInfoRequest()))
        assert found.version


async def test_a_connection_that_dies_without_a_word(shared_broker: Broker, topic: str) -> None:
    received: list[bytes] = []

    async def handler(delivery: Delivery) -> None:
        received.append(delivery.payload)

    states, idle_states, unopened_states = States(), States(), States()
    async with (
        holding_proxy(shared_broker.address) as proxy,
        Client(proxy.address, on_connection_state=states.note) as client,
        Client(proxy.address, on_connection_state=idle_states.note) as idle,
        Client(proxy.address, on_connection_state=unopened_states.note) as unopened,
    ):
        await create_topic(client, topic)
        await create_subscription(client, topic, "s")
        consumer = client.consumer(topic, "s")
        running = asyncio.create_task(consumer.run(handler))
        producer = await within(client.producer(topic).open())
        await within(producer.send("before"))
        await until(lambda: received == [b"before"])
        # This one has no call open.
        await idle.admin.get_server_info(GetServerInfoRequest())
        # And this one never gets an answer: its first connection is silent from the beginning.
        proxy.silent_count = 1
        opening = unopened.consumer(topic, "other")
        opened = asyncio.create_task(opening.run(handler))
        await until(lambda: proxy.silent_count == 0)
        began_at = asyncio.get_running_loop().time()
        proxy.hold()
        unanswered = asyncio.create_task(client.admin.get_server_info(GetServerInfoRequest()))
        sent = producer.send("after")
        with pytest.raises(SluiceError) as caught:
            await within(unanswered, SILENCE_LIMIT_S)
        assert caught.value.code == StatusCode.UNAVAILABLE
        assert (await states.next("waiting")).cause == f"the connection to {proxy.address} was lost"
        await within(sent, SILENCE_LIMIT_S)
        await until(lambda: received.count(b"after") >= 1, SILENCE_LIMIT_S)
        await idle_states.next("waiting")
        assert (await unopened_states.next("waiting")).cause == f"{proxy.address} does not answer"
        await unopened_states.next("ready")
        took_s = asyncio.get_running_loop().time() - began_at
        assert took_s < SILENCE_LIMIT_S, "longer than the pings say"
        await within(asyncio.gather(consumer.close(), opening.close(), producer.close()))
        await within(asyncio.gather(running, opened))
