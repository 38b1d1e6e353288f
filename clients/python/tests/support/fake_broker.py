"""A server in this process that speaks as much of the API as a test tells it: for what a real broker rarely does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from sluice.v1 import (
    ORDERING_PARTITION,
    AcknowledgeResponse,
    ConsumeRequest,
    ConsumeResponse,
    FlowControl,
    GetProducerResponse,
    GetSubscriptionResponse,
    GetTopicResponse,
    Message,
    MessageRun,
    OffsetRange,
    OpenProducerResponse,
    Ordering,
    SessionOpened,
    Settlement,
    Subscription,
    Topic,
)
from tests.support.waiting import within

Context = grpc.aio.ServicerContext[Any, Any]


class FakeSession:
    """One Consume stream, from the broker's side."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._offset = 0
        self.has_left = asyncio.Event()
        """The client has closed its half."""
        self.is_over = asyncio.Event()
        self.requests: asyncio.Queue[ConsumeRequest] = asyncio.Queue()
        self.flow_controls: list[FlowControl] = []

    async def open(self, ack_deadline_s: float = 30) -> None:
        opened = SessionOpened(session_id="fake")
        opened.ack_deadline.FromMilliseconds(round(ack_deadline_s * 1000))
        await self.send(ConsumeResponse(opened=opened))

    async def send(self, response: ConsumeResponse) -> None:
        await self._context.write(response.SerializeToString())

    async def deliver(
        self, *payloads: str, partition: int = 0, first: int | None = None, key: bytes = b"", attempt: int = 1
    ) -> None:
        first = self._offset if first is None else first
        self._offset = first + len(payloads)
        messages = [Message(payload=payload.encode(), key=key) for payload in payloads]
        run = MessageRun(partition=partition, first_offset=first, attempt=attempt, messages=messages)
        await self.send(ConsumeResponse(runs=[run]))

    async def revoke(self, first: int, last: int, partition: int = 0) -> None:
        taken = OffsetRange(partition=partition, first_offset=first, last_offset=last)
        await self.send(ConsumeResponse(revoked=[taken]))

    async def next_settlements(self) -> tuple[int, Sequence[Settlement]]:
        """The next request that settles something: its id, and what."""
        while True:
            request = await within(self.requests.get())
            if request.settlements:
                return request.settlement_id, request.settlements

    async def settled(self, settlement_id: int, *stale: OffsetRange) -> None:
        result = AcknowledgeResponse(stale=stale)
        await self.send(ConsumeResponse(settled=ConsumeResponse.Settled(settlement_id=settlement_id, result=result)))

    async def fail(self, code: grpc.StatusCode, text: str = "as the test wants") -> None:
        await self._context.abort(code, text)

    async def pump(self, requests: Any) -> None:
        async for data in requests:
            request = ConsumeRequest.FromString(data)
            if request.HasField("flow_control"):
                self.flow_controls.append(request.flow_control)
            self.requests.put_nowait(request)
        self.has_left.set()


Script = Callable[[FakeSession], Awaitable[None]]


class FakeBroker:
    def __init__(self) -> None:
        self.ordering: Ordering = ORDERING_PARTITION
        self.script: Script | None = None
        """What every session does. When it returns, the stream ends well."""
        self.sessions: list[FakeSession] = []
        self.publish: Callable[[Any, Context], Awaitable[None]] | None = None
        """What every PublishStream does with its requests, as bytes."""
        self.metadata: list[dict[str, str]] = []
        """Of every call."""
        self.answers: dict[str, Callable[[bytes, Context], Awaitable[bytes]]] = {}
        """Of unary methods, by name."""
        self._server = grpc.aio.server()
        self.address = ""

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self._server.add_generic_rpc_handlers((Handlers(self),))
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)

    async def unary(self, method: str, request: bytes, context: Context) -> bytes:
        if method in self.answers:
            return await self.answers[method](request, context)
        if method == "GetSubscription":
            return GetSubscriptionResponse(subscription=Subscription(ordering=self.ordering)).SerializeToString()
        if method == "OpenProducer":
            return OpenProducerResponse(epoch=1).SerializeToString()
        if method == "GetProducer":
            return GetProducerResponse(epoch=1).SerializeToString()
        if method == "GetTopic":
            return GetTopicResponse(topic=Topic(partition_count=1)).SerializeToString()
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, method)
        raise AssertionError

    async def consume(self, requests: Any, context: Context) -> None:
        session = FakeSession(context)
        self.sessions.append(session)
        pumping = asyncio.create_task(session.pump(requests))
        try:
            if self.script is not None:
                await self.script(session)
        finally:
            session.is_over.set()
            pumping.cancel()
            await asyncio.wait([pumping])

    async def publish_stream(self, requests: Any, context: Context) -> None:
        assert self.publish is not None
        await self.publish(requests, context)


class Handlers(grpc.GenericRpcHandler):
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        metadata = handler_call_details.invocation_metadata
        self._broker.metadata.append({str(name): str(value) for name, value in metadata})
        if method == "Consume":
            return grpc.stream_stream_rpc_method_handler(self._broker.consume)
        if method == "PublishStream":
            return grpc.stream_stream_rpc_method_handler(self._broker.publish_stream)

        async def answer(request: bytes, context: Context) -> bytes:
            return await self._broker.unary(method, request, context)

        return grpc.unary_unary_rpc_method_handler(answer)
