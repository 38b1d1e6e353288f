"""The producer against a broker that says what the test wants: what is under way, and what waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sluice import Client, Receipt, SluiceError, StatusCode
from sluice.v1 import (
    GetProducerResponse,
    OffsetRange,
    OpenProducerRequest,
    OpenProducerResponse,
    PublishStreamRequest,
    PublishStreamResponse,
)
from tests.support.fake_broker import Context, FakeBroker
from tests.support.waiting import within

LARGE = 200_000


class Log:
    """What is stored, as a broker keeps it: by epoch and number."""

    def __init__(self, fake: FakeBroker) -> None:
        self.epoch = 0
        self.stored: list[str] = []
        self.batch_sizes: list[int] = []
        self.refusals = 0
        """So many more streams are refused by something between here and the broker."""
        self.code = StatusCode.RESOURCE_EXHAUSTED
        """Of streams with a request that is too large."""
        self.gate = asyncio.Event()
        """Answers wait for it."""
        self.gate.set()
        fake.answers["OpenProducer"] = self._open
        fake.answers["GetProducer"] = self._get
        fake.publish = self._publish

    async def _open(self, data: bytes, _: Context) -> bytes:
        request = OpenProducerRequest.FromString(data)
        assert not request.HasField("current_epoch") or request.current_epoch == self.epoch
        self.epoch += 1
        return OpenProducerResponse(epoch=self.epoch, last_sequence=len(self.stored)).SerializeToString()

    async def _get(self, _: bytes, __: Context) -> bytes:
        return GetProducerResponse(epoch=self.epoch, last_sequence=len(self.stored)).SerializeToString()

    async def _publish(self, requests: Any, context: Context) -> None:
        async for data in requests:
            request = PublishStreamRequest.FromString(data)
            if self.refusals > 0:
                self.refusals -= 1
                await context.abort(StatusCode.RESOURCE_EXHAUSTED, "slow down")
            if len(request.messages[0].payload) == LARGE:
                await context.abort(self.code, "can't be read")
            await self.gate.wait()
            assert request.producer.epoch == self.epoch
            assert request.producer.first_sequence == request.batch_id == len(self.stored) + 1
            first = len(self.stored)
            self.batch_sizes.append(len(request.messages))
            self.stored += [message.payload.decode() for message in request.messages]
            offsets = OffsetRange(partition=0, first_offset=first, last_offset=len(self.stored) - 1)
            response = PublishStreamResponse(
                batch_id=request.batch_id, message_count=len(request.messages), ranges=[offsets]
            )
            await context.write(response.SerializeToString())


@pytest.mark.parametrize("code", [StatusCode.RESOURCE_EXHAUSTED, StatusCode.INVALID_ARGUMENT])
async def test_only_what_can_not_be_read_fails(fake: FakeBroker, code: StatusCode) -> None:
    log = Log(fake)
    log.code = code
    large = {2, 5, 6}
    async with Client(fake.address) as client:
        settings = client.producer("t", batch_max_messages=1, retry_min_backoff=0.001, retry_max_backoff=0.002)
        async with settings as producer:
            sending = [producer.send(bytes(LARGE) if i in large else f"{i}") for i in range(10)]
            results = await within(asyncio.gather(*sending, return_exceptions=True))
    failed = {i: result for i, result in enumerate(results) if isinstance(result, SluiceError)}
    assert set(failed) == large
    assert {error.code for error in failed.values()} == {code}
    assert log.stored == [f"{i}" for i in range(10) if i not in large]


async def test_a_proxy_that_limits_the_rate_is_waited_for(fake: FakeBroker) -> None:
    log = Log(fake)
    async with Client(fake.address) as client:
        settings = client.producer("t", batch_max_messages=1, retry_min_backoff=0.001, retry_max_backoff=0.002)
        async with settings as producer:
            log.refusals = 4
            receipts: list[Receipt] = await within(asyncio.gather(*(producer.send(text) for text in "abc")))
    assert [receipt.offset for receipt in receipts] == [0, 1, 2]
    assert log.stored == ["a", "b", "c"]


async def test_what_waits_for_a_slot_goes_in_as_few_requests_as_there_can_be(fake: FakeBroker) -> None:
    log = Log(fake)
    log.gate.clear()
    async with (
        Client(fake.address) as client,
        client.producer("t", linger=0, max_in_flight=1, batch_max_messages=200) as producer,
    ):
        # Each of them has waited for its linger when the next one comes.
        # A timer that comes later weakens the check, and does not fail it.
        sending = [producer.send("first")]
        for i in range(500):
            await asyncio.sleep(0.001 if i % 10 == 0 else 0)
            sending.append(producer.send(f"{i}"))
        log.gate.set()
        await within(asyncio.gather(*sending))
    assert log.stored[-500:] == [f"{i}" for i in range(500)]
    assert len(log.batch_sizes) <= 5
    assert max(log.batch_sizes) == 200


async def test_what_expires_while_a_stream_is_opened_is_fenced_before_another_has_its_number(fake: FakeBroker) -> None:
    log = Log(fake)
    log.code = StatusCode.UNAVAILABLE
    is_recovering, may_open = False, asyncio.Event()
    may_open.set()

    async def position(data: bytes, context: Context) -> bytes:
        nonlocal is_recovering
        if not is_recovering:
            # The next call is the one that opens the new stream.
            may_open.clear()
        is_recovering = True
        return await log._get(data, context)

    async def metadata() -> dict[str, str]:
        await may_open.wait()
        return {}

    fake.answers["GetProducer"] = position
    async with Client(fake.address, metadata=metadata) as client:
        settings = client.producer("t", retry_timeout=2, retry_min_backoff=0.001, retry_max_backoff=0.002)
        async with settings as producer:
            with pytest.raises(SluiceError) as caught:
                # It breaks its stream, and may lie in the connection.
                await within(producer.send(bytes(LARGE)))
            assert caught.value.reason == "RETRY_TIMEOUT"
            sending = asyncio.ensure_future(producer.send("next"))
            may_open.set()
            await within(sending)
    assert is_recovering
    assert log.stored == ["next"]
    assert log.epoch == 2, "the number of the one that was given up has another meaning in a new epoch only"
