"""The `interop` program against itself: every case, and every bench."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sluice import Client
from tests.support.broker import ROOT, Broker
from tests.support.topics import create_topic
from tests.support.waiting import within

PROGRAM = Path(__file__).resolve().parents[2] / "build/interop"
CASES = {
    case["name"]: case["partitionCount"]
    for case in json.loads((ROOT / "clients/interop/cases.json").read_text(encoding="utf-8"))["cases"]
}


async def interop(*args: str, exit_code: int = 0) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM), *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, log = await within(process.communicate())
    assert process.returncode == exit_code, log.decode()
    (line,) = output.decode().splitlines() or ["{}"]
    return dict(json.loads(line))


@pytest.mark.parametrize("case", [name for name in CASES if name != "kills"])
async def test_what_is_produced_is_consumed(shared_broker: Broker, client: Client, topic: str, case: str) -> None:
    await create_topic(client, topic, CASES[case])
    common = ["--server", shared_broker.address, "--topic", topic, "--case", case]
    produced = await interop("produce", *common)
    assert produced["sent"] == len(produced["receipts"])
    assert len({tuple(receipt) for receipt in produced["receipts"]}) == produced["sent"]
    consumed = await interop("consume", *common, "--subscription", "s")
    assert consumed == {"received": produced["sent"], "redelivered": 0, "problems": []}


async def test_what_is_wrong_is_a_problem(shared_broker: Broker, client: Client, topic: str) -> None:
    await create_topic(client, topic, 1)
    async with client.producer(topic) as producer:
        await within(producer.send_many(["plain", "not of the case", *(f"{i}" for i in range(6))]))
    common = ["--server", shared_broker.address, "--topic", topic, "--case", "payloads"]
    consumed = await interop("consume", *common, "--subscription", "s", exit_code=1)
    assert consumed["received"] == 8
    assert len(consumed["problems"]) == 7


async def test_a_program_that_waits_in_vain_ends(shared_broker: Broker, client: Client, topic: str) -> None:
    common = ["--server", shared_broker.address, "--topic", topic, "--case", "payloads", "--timeout", "0.3"]
    await interop("consume", *common, "--subscription", "s", exit_code=2)


async def test_the_benches_measure(shared_broker: Broker, client: Client, topic: str) -> None:
    await create_topic(client, topic, 8)
    common = ["--server", shared_broker.address, "--topic", topic]
    published = await interop("bench", "publish", *common, "--messages", "5000", "--payload-bytes", "100")
    consumed = await interop("bench", "consume", *common, "--subscription", "s", "--messages", "5000")
    assert published["messages"] == consumed["messages"] == 5_000
    assert published["seconds"] > 0
    assert consumed["seconds"] > 0
    steady = ["--subscription", "steady", "--rate", "200", "--seconds", "0.5", "--payload-bytes", "100"]
    latency = await interop("bench", "latency", *common, *steady)
    assert latency["messages"] == 100
    for what in ("publish", "deliver"):
        assert 0 < latency[what]["p50Ms"] <= latency[what]["p99Ms"] <= latency[what]["maxMs"]
