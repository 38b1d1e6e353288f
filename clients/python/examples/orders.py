"""A producer and a consumer in one process: `python examples/orders.py [host:port]`, against a running broker."""

import asyncio
import sys

import sluice


async def produce(client: sluice.Client, count: int) -> None:
    async with client.producer("example-orders") as producer:
        receipts = [producer.send(f"order {i}", key=f"customer-{i % 3}") for i in range(count)]
        for receipt in await asyncio.gather(*receipts):
            print(f"stored in partition {receipt.partition} at offset {receipt.offset}")


async def consume(client: sluice.Client, count: int) -> None:
    handled: set[int] = set()
    consumer = client.consumer("example-orders", "example-billing", concurrency=4)

    async def bill(delivery: sluice.Delivery) -> None:
        if b"order 3" in delivery.payload and delivery.attempt == 1:
            raise RuntimeError("the printer is out of paper")
        print(f"billed {delivery.payload.decode()} to {delivery.key.decode()}, attempt {delivery.attempt}")
        handled.add(delivery.offset)
        if len(handled) == count:
            # From within a handler it only begins: the handler's own message is still acknowledged.
            await consumer.close()

    await consumer.run(bill)


async def main(target: str) -> None:
    async with sluice.Client(target) as client:
        await produce(client, 10)
        await consume(client, 10)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7070"))
