"""Names of the version before, in milliseconds: they count still, and warn the one that uses them."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable

import pytest

from sluice import Client, ConnectionState, SluiceError, StatusCode
from sluice.consumer.settings import ConsumerSettings
from sluice.producer.settings import ProducerSettings
from sluice.v1 import GetTopicRequest
from tests.support.fake_broker import Context, FakeBroker

PRODUCER_NAMES = ["linger", "retry_timeout", "retry_min_backoff", "retry_max_backoff"]
CONSUMER_NAMES = ["ack_interval", "drain_timeout", "retry_min_backoff", "retry_max_backoff"]


def names_warned_of(found: list[warnings.WarningMessage]) -> list[str]:
    """In the order of the warnings, each of which has to name this file: others are not shown to who causes them."""
    assert [warning.filename for warning in found] == [__file__] * len(found)
    return [str(warning.message).split("_ms is deprecated: ")[0] for warning in found]


async def test_settings_in_milliseconds() -> None:
    async with Client("127.0.0.1:1") as client:
        with pytest.warns(DeprecationWarning, match="_ms is deprecated") as found:
            producer = client.producer(
                "t", linger_ms=5, retry_timeout_ms=1_500, retry_min_backoff_ms=10, retry_max_backoff_ms=0
            )
        assert names_warned_of(list(found)) == PRODUCER_NAMES
        assert [getattr(producer.settings, name) for name in PRODUCER_NAMES] == [0.005, 1.5, 0.01, 0]
        with pytest.warns(DeprecationWarning, match="_ms is deprecated") as found:
            consumer = client.consumer(
                "t", "s", ack_interval_ms=5, drain_timeout_ms=20_000, retry_min_backoff_ms=10, retry_max_backoff_ms=20
            )
        assert names_warned_of(list(found)) == CONSUMER_NAMES
        assert [getattr(consumer.settings, name) for name in CONSUMER_NAMES] == [0.005, 20, 0.01, 0.02]


def test_settings_in_seconds_warn_of_nothing() -> None:
    assert ProducerSettings("t", linger=0.5, retry_timeout=3).retry_timeout == 3
    assert ProducerSettings("t").linger == 0.001
    assert ConsumerSettings("t", "s", ack_interval=0.5, drain_timeout=3).drain_timeout == 3


def test_times_of_errors_and_states() -> None:
    waiting = ConnectionState("waiting", next_attempt_in=0.5)
    error = SluiceError("full", code=StatusCode.RESOURCE_EXHAUSTED, retry_after=0.25)
    with pytest.warns(DeprecationWarning, match="_ms is deprecated") as found:
        times = (error.retry_after_ms, waiting.next_attempt_in_ms, ConnectionState("ready").next_attempt_in_ms)
    assert times == (250, 500, None)
    assert names_warned_of(list(found)) == ["retry_after", "next_attempt_in", "next_attempt_in"]


async def test_the_deadline_of_a_call(fake: FakeBroker) -> None:
    left_s: list[float] = []

    async def note(_: bytes, context: Context) -> bytes:
        left_s.append(context.time_remaining())
        return b""

    fake.answers["GetTopic"] = note
    async with Client(fake.address) as client:
        call: Callable[..., Awaitable[object]] = client.admin.get_topic
        with pytest.warns(DeprecationWarning, match="_ms is deprecated") as found:
            await call(GetTopicRequest(name="t"), timeout_ms=600_000)
        assert names_warned_of(list(found)) == ["timeout"]
        await call(GetTopicRequest(name="t"), timeout=600)
    assert all(500 < left < 700 for left in left_s)
