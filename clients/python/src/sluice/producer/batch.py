"""The messages of one request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

from ..errors import SluiceError
from ..message import Durability, Receipt
from ..routing import Place
from ..v1 import ProducerSequence, PublishStreamRequest

DUPLICATE = Receipt(None, None, Durability.UNSPECIFIED, True)


class Batch:
    __slots__ = (
        "_body",
        "_futures",
        "_parts",
        "byte_length",
        "exhaustion_count",
        "first_sequence",
        "keys",
        "opened_at",
        "was_sent",
    )

    def __init__(self, opened_at: float = 0.0) -> None:
        self._parts: list[bytes] = []
        self._body: bytes | None = None
        self._futures: list[asyncio.Future[Receipt]] = []
        self.keys: list[bytes] = []
        self.byte_length = 0
        self.first_sequence = 0
        """Of its first message: given when it is sent, and anew when one before it was given up."""
        self.opened_at = opened_at
        """When its first message was handed over, if that is of interest."""
        self.was_sent = False
        """It may lie in a connection, also in one that is broken."""
        self.exhaustion_count = 0
        """How often in a row it was alone under way and the stream ended with a bare RESOURCE_EXHAUSTED."""

    def __len__(self) -> int:
        return len(self._futures)

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + len(self._futures) - 1

    def add(self, head: bytes, payload: bytes, key: bytes, future: asyncio.Future[Receipt]) -> None:
        self._parts += (head, payload)
        self.keys.append(key)
        self._futures.append(future)
        self.byte_length += len(head) + len(payload)

    def encode(self, topic: str, partition: int | None, producer_id: str, epoch: int) -> bytes:
        """The whole request: its head, and the encoded messages."""
        if self._body is None:
            self._body = b"".join(self._parts)
            self._parts.clear()
        producer = ProducerSequence(producer_id=producer_id, epoch=epoch, first_sequence=self.first_sequence)
        head = PublishStreamRequest(topic=topic, partition=partition, producer=producer, batch_id=self.first_sequence)
        return head.SerializeToString() + self._body

    def resolve_range(self, partition: int, first_offset: int, durability: Durability) -> None:
        """All messages are durable, in one range."""
        for future, offset in zip(self._futures, count(first_offset)):
            if not future.done():
                future.set_result(Receipt(partition, offset, durability, False))

    def resolve(self, skipped: int, places: Sequence[Place] | None, durability: Durability) -> None:
        """
        All messages are durable. The first ones were durable before; `places` has the places of the rest, if known.
        """
        for i, future in enumerate(self._futures):
            if future.done():
                continue
            if i < skipped:
                future.set_result(DUPLICATE)
            elif places is None:
                future.set_result(Receipt(None, None, durability, False))
            else:
                future.set_result(Receipt(*places[i - skipped], durability, False))

    def resolve_duplicate(self) -> None:
        """All messages were durable before."""
        self.resolve(len(self), None, Durability.UNSPECIFIED)

    def reject(self, error: SluiceError) -> None:
        for future in self._futures:
            if not future.done():
                future.set_exception(error)
