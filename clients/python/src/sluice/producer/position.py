"""What the broker knows of a producer and its topic."""

from ..errors import SluiceError
from ..v1 import GetProducerRequest, GetProducerResponse, GetTopicRequest
from ..v1.reasons import ErrorReason
from ..v1.stubs import AdminStub, BrokerStub

CALL_TIMEOUT_MS = 10_000
"""A broker that does not answer by then is asked again."""


async def position_of(broker: BrokerStub, topic: str, producer_id: str) -> tuple[int, int]:
    """Epoch and last durable sequence: at the beginning where the broker knows neither the producer nor its topic."""
    request = GetProducerRequest(topic=topic, producer_id=producer_id)
    try:
        found = await broker.get_producer(request, timeout_ms=CALL_TIMEOUT_MS)
    except SluiceError as error:
        if error.reason not in (ErrorReason.PRODUCER_NOT_FOUND, ErrorReason.TOPIC_NOT_FOUND):
            raise
        found = GetProducerResponse()
    return found.epoch, found.last_sequence


async def partition_count_of(admin: AdminStub, topic: str) -> int:
    """A topic that is not there yet will be made with one."""
    try:
        found = await admin.get_topic(GetTopicRequest(name=topic), timeout_ms=CALL_TIMEOUT_MS)
    except SluiceError as error:
        if error.reason != ErrorReason.TOPIC_NOT_FOUND:
            raise
        return 1
    return found.topic.partition_count
