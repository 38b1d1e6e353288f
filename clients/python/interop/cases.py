"""The cases of `clients/interop/cases.json`, as its README explains them."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sluice import Delivery, Message

DEFAULT_PATH = Path(__file__).resolve().parents[2] / "interop/cases.json"


@dataclass(frozen=True)
class CaseMessage:
    """A message of a case, spelled out."""

    key: bytes = b""
    payload: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    event_time_ns: int | None = None

    @property
    def outgoing(self) -> Message:
        return Message(self.payload, key=self.key, headers=self.headers, event_time=self.event_time_ns)

    def differs_from(self, delivery: Delivery) -> str | None:
        """What is not as it was sent, if anything."""
        for name in ("key", "payload", "headers", "event_time_ns"):
            expected, found = getattr(self, name), getattr(delivery, name)
            if expected != found:
                return f"{name} is {str(found)[:80]!r} instead of {str(expected)[:80]!r}"
        return None


def read_case(path: Path, name: str) -> list[CaseMessage]:
    """The messages of a case, in order."""
    cases = {case["name"]: case for case in json.loads(path.read_text(encoding="utf-8"))["cases"]}
    case = cases[name]
    if "sequence" in case:
        count, keys, width = (case["sequence"][part] for part in ("count", "keys", "payloadBytes"))
        return [
            CaseMessage(f"key-{i % keys}".encode(), str(i).zfill(width).encode(), {"index": str(i)})
            for i in range(count)
        ]
    return [
        CaseMessage(
            key=to_bytes(message.get("key")),
            payload=to_bytes(message.get("payload")),
            headers=message.get("headers", {}),
            event_time_ns=to_nanoseconds(message["eventTime"]) if "eventTime" in message else None,
        )
        for message in case["messages"]
    ]


def to_bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if "text" in value:
        return str(value["text"]).encode()
    if "base64" in value:
        return base64.b64decode(value["base64"])
    return to_bytes(value["repeat"]) * int(value["count"])


def to_nanoseconds(text: str) -> int:
    """Of RFC 3339 in UTC, with up to nine digits behind the second."""
    match = re.fullmatch(r"(.{19})(?:\.(\d{1,9}))?Z", text)
    if match is None:
        raise ValueError(f"not a time in UTC: {text}")
    second = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc)
    return int(second.timestamp()) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))
