"""Errors: the reasons of the broker, and the reasons that this client adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from .seconds import warn_of_ms
from .v1 import PublishError, PublishFailure

StatusCode = grpc.StatusCode
"""The status codes of gRPC, by name."""

CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

BUFFER_FULL = "BUFFER_FULL"
"""Reason: the buffer of the producer is full, and `when_full` is "fail" (RESOURCE_EXHAUSTED)."""
CLOSED = "CLOSED"
"""Reason: the producer or consumer is closed (CANCELLED)."""
RETRY_TIMEOUT = "RETRY_TIMEOUT"
"""Reason: a message has no receipt within `retry_timeout` (DEADLINE_EXCEEDED). It may be stored."""


@dataclass(frozen=True)
class FieldViolation:
    """The fault of one field of a request."""

    field: str
    """A path: `settlements[2].offsets`."""
    description: str


class SluiceError(Exception):
    """The failure of a call or a message: the broker refused it, or could not be reached."""

    code: grpc.StatusCode
    """The gRPC status code."""
    reason: str
    """
    Stable name of the error: one of `ErrorReason`, or a name that this version does not know. If the broker gave
    none (it did not answer, or a proxy answered), it is the name of the code: `UNAVAILABLE`.
    """
    metadata: Mapping[str, str]
    """Details for programs."""
    field_violations: tuple[FieldViolation, ...]
    """The faults of the request, one for each field."""
    retry_after: float | None
    """How long the broker asks to wait before a retry, in seconds."""
    publish_failure: PublishFailure | None
    """After a failed `Publish`: which requests of its stream are durable."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
        publish_failure: PublishFailure | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or code.name
        self.metadata = metadata or {}
        self.field_violations = tuple(field_violations)
        self.retry_after = retry_after
        self.publish_failure = publish_failure

    @property
    def message(self) -> str:
        """The text of the error. Programs must not decide by it."""
        return str(self.args[0])

    @property
    def retry_after_ms(self) -> float | None:
        """Deprecated: `retry_after`, in milliseconds."""
        warn_of_ms("retry_after")
        return None if self.retry_after is None else self.retry_after * 1000

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def has_reason(self) -> bool:
        """Whether the broker gave the reason."""
        return self.reason != self.code.name or bool(self.metadata)


def from_rpc_error(error: grpc.aio.AioRpcError) -> SluiceError:
    """Converts a failed call, with the details of its status. Leaves out details that can't be decoded."""
    metadata = error.trailing_metadata() or ()
    details = next((value for name, value in metadata if name == "grpc-status-details-bin"), None)
    fields = read_details(details) if isinstance(details, bytes) else {}
    return SluiceError(error.details() or "", code=error.code(), **fields)


def read_details(details: bytes) -> dict[str, Any]:
    """The standard error details that Sluice sends, as arguments of `SluiceError`."""
    fields: dict[str, Any] = {}
    try:
        for detail in status_pb2.Status.FromString(details).details:
            name = detail.type_url.rpartition("/")[2]
            if name == "google.rpc.ErrorInfo":
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                fields |= {"reason": info.reason, "metadata": dict(info.metadata)}
            elif name == "google.rpc.RetryInfo":
                retry = error_details_pb2.RetryInfo.FromString(detail.value)
                fields["retry_after"] = duration_s(retry.retry_delay)
            elif name == "google.rpc.BadRequest":
                request = error_details_pb2.BadRequest.FromString(detail.value)
                found = [FieldViolation(v.field, v.description) for v in request.field_violations]
                fields["field_violations"] = found
            elif name == "sluice.v1.PublishFailure":
                fields["publish_failure"] = PublishFailure.FromString(detail.value)
    except DecodeError:
        return {}
    return fields


def from_publish_error(error: PublishError) -> SluiceError:
    """Converts the refusal of one batch of a PublishStream."""
    code = CODES.get(error.code, StatusCode.UNKNOWN)
    delay = duration_s(error.retry_delay) if error.HasField("retry_delay") else None
    return SluiceError(error.message, code=code, reason=error.reason, retry_after=delay)


def closed(what: str) -> SluiceError:
    return SluiceError(f"the {what} is closed", code=StatusCode.CANCELLED, reason=CLOSED)


def duration_s(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
