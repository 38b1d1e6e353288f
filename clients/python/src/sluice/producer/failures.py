"""Decides which failures of a batch or a stream a retry can resolve."""

from __future__ import annotations

from ..errors import RETRY_TIMEOUT, SluiceError, StatusCode
from ..v1.reasons import ErrorReason

RETRIABLE = {StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.ABORTED}
BROKEN = {StatusCode.CANCELLED, StatusCode.UNKNOWN, StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED}
"""What libraries and proxies say of a stream that broke."""

FINAL_REASONS = {
    ErrorReason.PRODUCER_FENCED,
    ErrorReason.SEQUENCE_REUSED,
    ErrorReason.TOPIC_DELETED,
    ErrorReason.AUTO_CREATE_DISABLED,
}
FINAL_CODES = {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED}


class Failure(Exception):
    """The failure of one batch, or of a whole stream."""

    def __init__(self, error: SluiceError, *, of_batch: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.of_batch = of_batch

    @property
    def is_retriable(self) -> bool:
        return self.error.code in RETRIABLE if self.of_batch else is_passing(self.error)

    @property
    def is_bare_exhaustion(self) -> bool:
        """
        Whether the error is RESOURCE_EXHAUSTED of a proxy that limits the rate, or of a library that refuses a large
        request.
        """
        error = self.error
        return not self.of_batch and error.code == StatusCode.RESOURCE_EXHAUSTED and not error.has_reason


def is_final(error: SluiceError) -> bool:
    """Whether the broker stores no more messages of this producer."""
    return error.reason in FINAL_REASONS or error.code in FINAL_CODES


def is_passing(error: SluiceError) -> bool:
    """Whether a retry of the call or stream may succeed."""
    return error.code in RETRIABLE | BROKEN


def fenced(producer_id: str, epoch: int, current_epoch: int) -> SluiceError:
    """Another process has claimed the name."""
    text = f'epoch {epoch} of producer "{producer_id}" is over: another process claimed it with epoch {current_epoch}'
    reason = ErrorReason.PRODUCER_FENCED
    metadata = {"epoch": str(current_epoch)}
    return SluiceError(text, code=StatusCode.FAILED_PRECONDITION, reason=reason, metadata=metadata)


def not_in_time(retry_timeout: float | None, cause: SluiceError | None) -> SluiceError:
    """The error of a message whose `retry_timeout` is over."""
    text = f"not stored within {retry_timeout} s"
    if cause is not None:
        text += f": {cause.message}"
    error = SluiceError(text, code=StatusCode.DEADLINE_EXCEEDED, reason=RETRY_TIMEOUT)
    error.__cause__ = cause
    return error
