"""Messages and receipts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple


@dataclass
class Message:
    """A message for `send`. Text is sent as UTF-8."""

    payload: bytes | str = b""
    key: bytes | str = b""
    """Messages with equal keys share a partition and keep their order."""
    headers: Mapping[str, str] | None = None
    """Application and tracing metadata (`traceparent`). The broker reserves names that begin with `sluice-`."""
    event_time: datetime | int | None = None
    """When the event happened; the broker does not read it. A number counts nanoseconds since 1970."""


class Durability(IntEnum):
    """The failures that an accepted message survives."""

    UNSPECIFIED = 0
    WRITTEN = 1
    """Written to the operating system: survives a crash of the broker."""
    SYNCED = 2
    """Flushed to the device: survives a loss of power."""


class Receipt(NamedTuple):
    """The place of a message that is durable."""

    partition: int | None
    """None for a duplicate: a retry found the message stored, and the broker does not say where."""
    offset: int | None
    durability: Durability
    is_duplicate: bool
    """Whether an earlier try, whose answer was lost, has stored the message."""
