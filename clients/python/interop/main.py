"""The `interop` program: see clients/interop/README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from bench import bench_consume, bench_latency, bench_publish
from cases import DEFAULT_PATH, read_case
from sluice import Client, SluiceError
from transfer import consume, produce

TIMED_OUT = 2


def parse(arguments: list[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--server", required=True, help="host:port of the broker")
    common.add_argument("--topic", required=True)
    common.add_argument("--cases", type=Path, default=DEFAULT_PATH)
    common.add_argument("--timeout", type=float, default=120, metavar="SECONDS")
    subscribed = argparse.ArgumentParser(add_help=False)
    subscribed.add_argument("--subscription", required=True)
    case = argparse.ArgumentParser(add_help=False)
    case.add_argument("--case", required=True)
    messages = argparse.ArgumentParser(add_help=False)
    messages.add_argument("--messages", type=int, required=True)
    payload = argparse.ArgumentParser(add_help=False)
    payload.add_argument("--payload-bytes", type=int, default=100)

    parser = argparse.ArgumentParser(prog="interop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("produce", parents=[common, case])
    commands.add_parser("consume", parents=[common, subscribed, case])
    benches = commands.add_parser("bench").add_subparsers(dest="bench", required=True)
    benches.add_parser("publish", parents=[common, messages, payload])
    benches.add_parser("consume", parents=[common, subscribed, messages])
    latency = benches.add_parser("latency", parents=[common, subscribed, payload])
    latency.add_argument("--rate", type=float, default=1_000, help="messages a second")
    latency.add_argument("--warmup", type=float, default=0, help="seconds before that, which do not count")
    latency.add_argument("--seconds", type=float, default=10)
    return parser.parse_args(arguments)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    async with Client(options.server) as client:
        topic = options.topic
        if options.command == "produce":
            return await produce(client, topic, read_case(options.cases, options.case))
        if options.command == "consume":
            return await consume(client, topic, options.subscription, read_case(options.cases, options.case))
        if options.bench == "publish":
            return await bench_publish(client, topic, options.messages, options.payload_bytes)
        if options.bench == "consume":
            return await bench_consume(client, topic, options.subscription, options.messages)
        return await bench_latency(
            client,
            topic,
            options.subscription,
            rate=options.rate,
            seconds=options.seconds,
            warmup=options.warmup,
            payload_bytes=options.payload_bytes,
        )


async def main(options: argparse.Namespace) -> int:
    try:
        result = await asyncio.wait_for(run(options), options.timeout)
    except asyncio.TimeoutError:
        logging.error("not done after %s seconds", options.timeout)
        return TIMED_OUT
    except SluiceError as error:
        logging.error("%s", error)
        return 1
    print(json.dumps(result), flush=True)
    return 1 if result.get("problems") else 0


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    sys.exit(asyncio.run(main(parse(sys.argv[1:]))))
