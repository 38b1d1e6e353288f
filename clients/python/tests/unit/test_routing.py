from collections import Counter

import pytest

from sluice.routing import hash_key, partition_of_key, places_of
from sluice.v1 import OffsetRange

# Those of the broker's own tests. They never change: stored messages stand where they were routed.
VECTORS = [
    ("", 2872998923),
    ("a", 444641715),
    ("b", 2193908274),
    ("order-1", 2449496732),
    ("order-2", 2010665664),
    ("\0", 91794203),
    ("schlüssel", 1660859099),
    ("0123456789" * 10, 2144348767),
]


@pytest.mark.parametrize(("key", "expected"), VECTORS)
def test_hashes_keys_as_the_broker_does(key: str, expected: int) -> None:
    assert hash_key(key.encode()) == expected
    assert partition_of_key(key.encode(), 16) == expected % 16
    assert partition_of_key(key.encode(), 7) == expected % 7


def test_spreads_keys_evenly() -> None:
    counts = Counter(partition_of_key(f"customer-{i}".encode(), 16) for i in range(16_000))
    assert len(counts) == 16
    assert all(850 < count < 1_150 for count in counts.values())


def piece(partition: int, first: int, last: int) -> OffsetRange:
    return OffsetRange(partition=partition, first_offset=first, last_offset=last)


def test_one_range_places_all_in_order() -> None:
    assert places_of([b"", b"a", b"b"], [piece(3, 7, 9)], 8) == [(3, 7), (3, 8), (3, 9)]


def test_keys_go_where_they_hash_and_the_rest_stays_together() -> None:
    # a → 3, b → 2 of 4
    keys = [b"a", b"", b"b", b"a", b""]
    assert places_of(keys, [piece(2, 5, 5), piece(3, 10, 13)], 4) == [(3, 10), (3, 11), (2, 5), (3, 12), (3, 13)]


def test_a_partition_may_have_several_ranges() -> None:
    keys = [b"a", b"b", b"a", b"a"]
    places = places_of(keys, [piece(2, 0, 0), piece(3, 4, 4), piece(3, 8, 9)], 4)
    assert places == [(3, 4), (2, 0), (3, 8), (3, 9)]


@pytest.mark.parametrize(
    ("keys", "ranges"),
    [
        ([b"a"], [piece(0, 0, 1)]),
        ([b"a", b"b"], [piece(0, 0, 0), piece(1, 0, 0)]),
        ([b"", b""], [piece(0, 0, 0), piece(1, 0, 0)]),
        ([b"a", b"b"], []),
    ],
)
def test_says_when_the_ranges_do_not_fit(keys: list[bytes], ranges: list[OffsetRange]) -> None:
    assert places_of(keys, ranges, 4) is None
