"""Which failures of a batch or a stream trying again may mend."""

from ..errors import SluiceError, StatusCode
from ..v1.reasons import ErrorReason

RETRIABLE = {StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.ABORTED}
BROKEN = {StatusCode.CANCELLED, StatusCode.UNKNOWN, StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED}
"""What libraries and proxies say of a stream that broke."""

FINAL_REASONS = {ErrorReason.PRODUCER_FENCED, ErrorReason.TOPIC_DELETED, ErrorReason.AUTO_CREATE_DISABLED}
FINAL_CODES = {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED}


def is_final(error: SluiceError) -> bool:
    """Nothing of this producer can be stored any more."""
    return error.reason in FINAL_REASONS or error.code in FINAL_CODES


def is_refusal(error: SluiceError, *, of_batch: bool) -> bool:
    """The oldest batch will never be taken."""
    return error.code not in (RETRIABLE if of_batch else RETRIABLE | BROKEN)


def is_too_large(error: SluiceError) -> bool:
    """What libraries say, with no reason of the broker's, of a request that is too large to be read at all."""
    return error.code == StatusCode.RESOURCE_EXHAUSTED and not error.has_reason


def is_passing(error: SluiceError) -> bool:
    """A call that may go better the next time."""
    return error.code in RETRIABLE | BROKEN
