"""What tests share: brokers, and clients of them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sluice import Client
from tests.support.broker import Broker
from tests.support.fake_broker import FakeBroker


@pytest_asyncio.fixture(scope="session")
async def shared_broker() -> AsyncIterator[Broker]:
    """For tests that do it no harm."""
    broker = Broker()
    await broker.start()
    yield broker
    await broker.dispose()


@pytest_asyncio.fixture
async def own_broker() -> AsyncIterator[Broker]:
    """For tests that kill it."""
    broker = Broker()
    await broker.start()
    yield broker
    await broker.dispose()


@pytest_asyncio.fixture
async def client(shared_broker: Broker) -> AsyncIterator[Client]:
    async with Client(shared_broker.address) as client:
        yield client


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeBroker]:
    """A broker that says what the test tells it to."""
    fake = FakeBroker()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def topic() -> str:
    """A name that no other test uses."""
    return f"topic-{uuid.uuid4()}"
