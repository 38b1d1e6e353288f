"""Encodes messages by hand, because a protobuf object for each message costs several times as much."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache

NANOS = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# Tags of sluice.v1.Message, of the entries of its map and of a Timestamp.
KEY, PAYLOAD, HEADERS, EVENT_TIME = b"\x0a", b"\x12", b"\x1a", b"\x22"
ENTRY_NAME, ENTRY_VALUE = b"\x0a", b"\x12"
SECONDS, SUBSECONDS = b"\x08", b"\x10"
# Of `messages` in PublishStreamRequest.
MESSAGES = b"\x7a"


def varint(value: int) -> bytes:
    """Negative numbers take ten bytes, as their two's complement in 64 bits."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=4096)
def payload_only_head(payload_bytes: int) -> bytes:
    """The bytes before the payload of a message that has only a payload, in a request."""
    field = PAYLOAD + varint(payload_bytes) if payload_bytes else b""
    return MESSAGES + varint(len(field) + payload_bytes) + field


@lru_cache(maxsize=4096)
def key_field(key: bytes) -> bytes:
    return KEY + varint(len(key)) + key


def headers_field(headers: Mapping[str, str]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers.items():
        name_bytes, value_bytes = name.encode(), value.encode()
        entry = b"".join(
            (
                ENTRY_NAME,
                varint(len(name_bytes)),
                name_bytes,
                ENTRY_VALUE,
                varint(len(value_bytes)),
                value_bytes,
            )
        )
        parts += (HEADERS, varint(len(entry)), entry)
    return b"".join(parts)


def event_time_field(time: datetime | int) -> bytes:
    seconds, subseconds = divmod(to_nanoseconds(time), NANOS)
    body = (SECONDS + varint(seconds) if seconds else b"") + (SUBSECONDS + varint(subseconds) if subseconds else b"")
    return EVENT_TIME + varint(len(body)) + body


def to_nanoseconds(time: datetime | int) -> int:
    """The nanoseconds since 1970 of a time with a time zone."""
    if isinstance(time, int):
        return time
    if time.tzinfo is None:
        raise ValueError("an event time needs a time zone")
    return (time - EPOCH) // timedelta(microseconds=1) * 1000


def to_datetime(nanoseconds: int) -> datetime:
    """Rounds down to microseconds."""
    return EPOCH + timedelta(microseconds=nanoseconds // 1000)


def message_head(
    key: bytes, payload_bytes: int, headers: Mapping[str, str] | None, event_time: datetime | int | None
) -> bytes:
    """
    The bytes before the payload of a message in a request. The payload is the last field, so that it is not copied: the
    order of fields has no meaning.
    """
    if not key and not headers and event_time is None:
        return payload_only_head(payload_bytes)
    fields = (key_field(key) if len(key) <= 64 else KEY + varint(len(key)) + key) if key else b""
    if headers:
        fields += headers_field(headers)
    if event_time is not None:
        fields += event_time_field(event_time)
    if payload_bytes:
        fields += PAYLOAD + varint(payload_bytes)
    return MESSAGES + varint(len(fields) + payload_bytes) + fields
