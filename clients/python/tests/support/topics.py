"""Topics and subscriptions for tests, and a look at what is stored."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from sluice import Client
from sluice.v1 import (
    ORDERING_PARTITION,
    AcknowledgeRequest,
    CreateSubscriptionRequest,
    CreateTopicRequest,
    DeadLetterPolicy,
    GetSubscriptionRequest,
    ListConsumersRequest,
    Message,
    OffsetRange,
    Ordering,
    ReadRequest,
    RetryPolicy,
    Settlement,
    Subscription,
    SubscriptionPartitionStats,
    Topic,
)


def duration(ms: float) -> Duration:
    result = Duration()
    result.FromMicroseconds(round(ms * 1000))
    return result


async def create_topic(client: Client, name: str, partition_count: int = 1) -> None:
    await client.admin.create_topic(CreateTopicRequest(topic=Topic(name=name, partition_count=partition_count)))


async def create_subscription(
    client: Client,
    topic: str,
    name: str,
    *,
    ordering: Ordering = ORDERING_PARTITION,
    ack_deadline_ms: float = 30_000,
    backoff_ms: float = 20,
    max_attempts: int = 10,
) -> None:
    subscription = Subscription(
        topic=topic,
        name=name,
        ordering=ordering,
        ack_deadline=duration(ack_deadline_ms),
        retry=RetryPolicy(min_backoff=duration(backoff_ms), max_backoff=duration(backoff_ms)),
        dead_letter=DeadLetterPolicy(max_attempts=max_attempts),
    )
    await client.admin.create_subscription(CreateSubscriptionRequest(subscription=subscription))


async def partitions_of(client: Client, topic: str, name: str) -> list[SubscriptionPartitionStats]:
    found = await client.admin.get_subscription(GetSubscriptionRequest(topic=topic, name=name))
    return list(found.subscription.partitions)


async def backlog_of(client: Client, topic: str, name: str) -> int:
    """Messages that are not settled."""
    return sum(p.backlog_message_count for p in await partitions_of(client, topic, name))


async def end_lease(client: Client, topic: str, offset: int) -> None:
    """Ends the lease of a message of partition 0 at once. So a lease can be so long that a busy machine keeps it."""
    (consumer,) = (await client.admin.list_consumers(ListConsumersRequest(topic=topic))).consumers
    end = Settlement(
        offsets=OffsetRange(partition=0, first_offset=offset, last_offset=offset),
        extend=Settlement.ExtendDeadline(by=duration(1)),
    )
    answer = await client.broker.acknowledge(AcknowledgeRequest(session_id=consumer.session_id, settlements=[end]))
    assert not answer.stale, "the lease was over already"


async def stored(client: Client, topic: str) -> dict[tuple[int, int], Message]:
    """The whole log, by partition and offset."""
    found: dict[tuple[int, int], Message] = {}
    async for response in client.broker.read(ReadRequest(topic=topic)):
        for run in response.runs:
            for offset, message in enumerate(run.messages, run.first_offset):
                found[run.partition, offset] = message
    return found
