from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from sluice import ErrorReason, FieldViolation, SluiceError, StatusCode
from sluice.errors import from_publish_error, from_rpc_error, read_details
from sluice.v1 import PublishError, PublishFailure
from sluice.v1.error_reason_pb2 import ErrorReason as ProtoReason


def status_with(*details: Any) -> bytes:
    status = status_pb2.Status(code=3)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def test_reads_every_detail_that_the_broker_sends() -> None:
    info = error_details_pb2.ErrorInfo(reason="BACKLOG_FULL", domain="sluice.v1", metadata={"topic": "t"})
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1_500)
    violation = error_details_pb2.BadRequest.FieldViolation(field="topic", description="is missing")
    request = error_details_pb2.BadRequest(field_violations=[violation])
    failure = PublishFailure(durable_request_count=3)
    fields = read_details(status_with(info, retry, request, failure))
    assert fields["reason"] == ErrorReason.BACKLOG_FULL
    assert fields["metadata"] == {"topic": "t"}
    assert fields["retry_after"] == 1.5
    assert fields["field_violations"] == [FieldViolation("topic", "is missing")]
    assert fields["publish_failure"].durable_request_count == 3


def test_details_that_cannot_be_read_leave_the_status() -> None:
    assert read_details(b"\xff\xff") == {}
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    failed = grpc.aio.AioRpcError(StatusCode.NOT_FOUND, grpc.aio.Metadata(), metadata, "no such thing")
    error = from_rpc_error(failed)
    assert (error.code, error.reason, error.message) == (StatusCode.NOT_FOUND, "NOT_FOUND", "no such thing")
    assert not error.has_reason


def test_reads_a_refused_batch() -> None:
    refused = PublishError(code=8, message="full", reason="BACKLOG_FULL")
    refused.retry_delay.FromMilliseconds(250)
    error = from_publish_error(refused)
    assert (error.code, error.reason) == (StatusCode.RESOURCE_EXHAUSTED, ErrorReason.BACKLOG_FULL)
    assert error.retry_after == 0.25
    assert from_publish_error(PublishError(code=99, message="?")).code == StatusCode.UNKNOWN


def test_every_reason_of_the_proto_has_a_constant() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ProtoReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert names == {reason.value for reason in ErrorReason}


def test_a_reason_of_a_newer_broker_passes() -> None:
    error = SluiceError("?", code=StatusCode.ABORTED, reason="NOT_KNOWN_YET")
    assert error.reason == "NOT_KNOWN_YET"
    assert str(error) == "NOT_KNOWN_YET: ?"
