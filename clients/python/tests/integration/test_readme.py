"""What the README and the examples show is what happens."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.support.broker import Broker
from tests.support.waiting import within

HERE = Path(__file__).resolve().parents[2]


async def run_python(*args: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=HERE / "src"
    )
    output, _ = await within(process.communicate())
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_from_nothing_to_a_producer_and_a_consumer(own_broker: Broker) -> None:
    code = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    assert '"127.0.0.1:7070"' in code
    output = await run_python("-c", code.replace("127.0.0.1:7070", own_broker.address))
    assert output.splitlines() == ["stored in partition 0 at offset 0", "two tickets"]


async def test_the_example(own_broker: Broker) -> None:
    lines = (await run_python(str(HERE / "examples/orders.py"), own_broker.address)).splitlines()
    assert sum(line.startswith("stored in partition 0") for line in lines) == 10
    assert [line for line in lines if "order 3" in line] == ["billed order 3 to customer-0, attempt 2"]
    assert len([line for line in lines if line.startswith("billed")]) == 10
