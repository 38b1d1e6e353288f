"""Computes the partition of a key, and the places of the messages of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

Place = tuple[int, int]
"""Partition and offset."""


class Range(Protocol):
    """Offsets of one partition, both ends included."""

    @property
    def partition(self) -> int: ...
    @property
    def first_offset(self) -> int: ...
    @property
    def last_offset(self) -> int: ...


@lru_cache(maxsize=65_536)
def hash_key(key: bytes) -> int:
    """
    32-bit FNV-1a, then the finalizer of MurmurHash3. The hash is a part of the protocol and must not change.
    """
    value = 0x811C9DC5
    for byte in key:
        value = (value ^ byte) * 0x01000193 & 0xFFFF_FFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFF_FFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFF_FFFF
    return value ^ value >> 16


def partition_of_key(key: bytes, partition_count: int) -> int:
    """The partition of a message with a key."""
    return hash_key(key) % partition_count


def places_of(keys: Sequence[bytes], ranges: Iterable[Range], partition_count: int) -> list[Place] | None:
    """
    The places of the messages of a batch, from the ranges of its receipt. In each partition the messages are in their
    order. Messages without a key (or with an empty one) are together, in the partition that has more messages than its
    keys explain. None if the ranges contradict the number of partitions, because it has grown.
    """
    offsets: dict[int, list[int]] = {}
    for piece in ranges:
        offsets.setdefault(piece.partition, []).extend(range(piece.first_offset, piece.last_offset + 1))
    if len(offsets) == 1:
        ((partition, found),) = offsets.items()
        return [(partition, offset) for offset in found] if len(found) == len(keys) else None
    routed = [hash_key(key) % partition_count if key else -1 for key in keys]
    surplus = {partition: len(found) for partition, found in offsets.items()}
    keyless_count = 0
    for partition in routed:
        if partition < 0:
            keyless_count += 1
        else:
            surplus[partition] = surplus.get(partition, 0) - 1
    left = [(partition, count) for partition, count in surplus.items() if count]
    keyless = left[0][0] if left else -1
    expected = [(keyless, keyless_count)] if keyless_count else []
    if left != expected:
        return None
    nexts = {partition: iter(found) for partition, found in offsets.items()}
    places: list[Place] = []
    for partition in routed:
        own = keyless if partition < 0 else partition
        places.append((own, next(nexts[own])))
    return places
