from datetime import datetime, timedelta, timezone

import pytest

from sluice import Message
from sluice.v1 import PublishStreamRequest
from sluice.wire import message_head, to_datetime, to_nanoseconds, varint

MESSAGES = [
    Message(b""),
    Message(b"x"),
    Message(b"p" * 127),
    Message(b"p" * 128),
    Message(b"p" * 100_000, key=b"k"),
    Message(b"p", key=b"k" * 1_024),
    Message(b"", key=b"\0"),
    Message(b"p", headers={"traceparent": "00-x-y-01", "": "", "имя": "значение ✓"}),
    Message(b"p", key=b"k", headers={"a": "b" * 300}, event_time=1_700_000_000_123_456_789),
    Message(event_time=0),
    Message(event_time=-1),
    Message(event_time=999_999_999),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_protobuf_reads_what_was_written_by_hand(message: Message) -> None:
    payload, key = message.payload, message.key
    assert isinstance(payload, bytes)
    assert isinstance(key, bytes)
    head = message_head(key, len(payload), message.headers, message.event_time)
    (decoded,) = PublishStreamRequest.FromString(head + payload).messages
    assert decoded.payload == payload
    assert decoded.key == key
    assert dict(decoded.headers) == (message.headers or {})
    assert decoded.HasField("event_time") == (message.event_time is not None)
    if message.event_time is not None:
        assert decoded.event_time.ToNanoseconds() == message.event_time


def test_numbers_take_as_many_bytes_as_protobuf_says() -> None:
    assert varint(0) == b"\0"
    assert varint(300) == b"\xac\x02"
    assert len(varint(-1)) == 10


def test_times_are_exact_to_the_microsecond() -> None:
    time = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)
    assert to_nanoseconds(time) == -1_000
    assert to_datetime(-1_000) == time
    elsewhere = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=5)))
    assert to_datetime(to_nanoseconds(elsewhere)) == elsewhere


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_nanoseconds(datetime(2026, 1, 1))
