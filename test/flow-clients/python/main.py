"""A producer and a consumer with grpcio and nothing on top: see ../README.md."""

import asyncio
import json
import sys

import grpc


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


async def publish(channel: grpc.aio.Channel, topic: str, request_bytes: int, count: int) -> None:
    call = channel.stream_stream("/sluice.v1.Broker/PublishStream")()
    state = {"sent": 0, "receipts": 0}

    async def tell() -> None:
        last = None
        while True:
            if state != last:
                last = dict(state)
                print(json.dumps(state), flush=True)
            await asyncio.sleep(0.05)

    async def write() -> None:
        payload = bytes(request_bytes)
        for i in range(1, count + 1):
            request = field(1, topic.encode()) + number(4, i) + field(15, field(2, payload))
            # Waits while the broker does not read.
            await call.write(request)
            state["sent"] += 1
        await call.done_writing()

    telling = asyncio.create_task(tell())
    writing = asyncio.create_task(write())
    async for _ in call:
        state["receipts"] += 1
    await writing
    telling.cancel()
    print(json.dumps(state), flush=True)


async def consume(channel: grpc.aio.Channel, topic: str, subscription: str, count: int) -> None:
    call = channel.stream_stream("/sluice.v1.Broker/Consume")()
    credit = number(1, 1_000_000) + number(2, 1 << 40)
    subscribe = field(1, topic.encode()) + field(2, subscription.encode()) + field(4, credit)
    await call.write(field(1, subscribe))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    received = 0
    while received < count:
        received += len(await call.read())
    print(json.dumps({"received": received}), flush=True)
    call.cancel()


async def main(command: str, address: str, topic: str, third: str, count: str) -> None:
    options = [("grpc.max_receive_message_length", 64 << 20)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        if command == "publish":
            await publish(channel, topic, int(third), int(count))
        else:
            await consume(channel, topic, third, int(count))


asyncio.run(main(*sys.argv[1:]))
