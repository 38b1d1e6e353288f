"""How a session begins."""

from __future__ import annotations

from collections.abc import Callable

from ..calls import BytesStream, Calls
from ..errors import SluiceError, StatusCode, closed
from ..v1 import (
    ORDERING_PARTITION,
    ORDERING_UNSPECIFIED,
    ConsumeRequest,
    ConsumeResponse,
    FlowControl,
    GetSubscriptionRequest,
    Ordering,
    SessionOpened,
    SubscribeRequest,
)
from ..v1.stubs import AdminStub
from .credit import Credit
from .lanes import Lanes
from .session import Session
from .settings import ConsumerSettings

METHOD = "/sluice.v1.Broker/Consume"
CALL_TIMEOUT_S = 10.0


class Opening:
    """
    A stream until its session is open. It can be left before that, because the broker takes a stream that is reset for
    a failed consumer.
    """

    def __init__(self) -> None:
        self.is_leaving = False
        self._subscribed: BytesStream | None = None

    async def leave(self) -> None:
        """Closes its half of the stream, now or behind the first request."""
        self.is_leaving = True
        if self._subscribed is not None:
            await self._subscribed.half_close()

    async def subscribe(self, stream: BytesStream, request: bytes) -> None:
        await stream.write(request)
        self._subscribed = stream
        if self.is_leaving:
            await stream.half_close()


async def open_session(
    calls: Calls,
    settings: ConsumerSettings,
    lanes: Lanes,
    credit: Credit,
    arrived: Callable[[], None],
    can_take_more: Callable[[], bool],
    opening: Opening,
) -> Session:
    """
    Subscribes, and asks for the ordering of the subscription before it takes the first message. Raises SluiceError,
    also if the stream was left and has ended.
    """
    stream = await calls.open_stream(METHOD)
    try:
        flow_control = FlowControl(
            max_outstanding_messages=credit.messages, max_outstanding_bytes=settings.max_outstanding_bytes
        )
        subscribe = SubscribeRequest(
            topic=settings.topic,
            subscription=settings.subscription,
            consumer_id=settings.consumer_id,
            flow_control=flow_control,
            start=settings.start_position,
        )
        await opening.subscribe(stream, ConsumeRequest(subscribe=subscribe).SerializeToString())
        opened, first = await read_opened(stream)
        if not opening.is_leaving:
            lanes.ordering = await ordering_of(calls, settings)
        if opening.is_leaving:
            # What comes now has not begun.
            while await stream.read() is not None:
                pass
            raise closed("consumer")
        session = Session(stream, settings, opened, lanes, credit, arrived, can_take_more)
    except BaseException:
        stream.cancel()
        raise
    session.take(first)
    return session


async def read_opened(stream: BytesStream) -> tuple[SessionOpened, ConsumeResponse]:
    """The `opened` of the session, and its response."""
    response = await stream.read()
    first = ConsumeResponse() if response is None else ConsumeResponse.FromString(response)
    if not first.HasField("opened"):
        raise SluiceError("the broker has opened no session", code=StatusCode.UNAVAILABLE)
    return first.opened, first


async def ordering_of(calls: Calls, settings: ConsumerSettings) -> Ordering:
    request = GetSubscriptionRequest(topic=settings.topic, name=settings.subscription)
    found = await AdminStub(calls).get_subscription(request, timeout=CALL_TIMEOUT_S)
    ordering = found.subscription.ordering
    return ORDERING_PARTITION if ordering == ORDERING_UNSPECIFIED else ordering
