"""One connection to a broker."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

from .calls import Calls
from .connection import MIB, MetadataSource, Tls, open_channel
from .connection_state import ConnectionStates, Listener
from .consumer.consumer import Consumer
from .consumer.settings import ConsumerSettings
from .producer.producer import Producer
from .producer.settings import ProducerSettings
from .v1.stubs import AdminStub, BrokerStub

P = ParamSpec("P")
Settings = TypeVar("Settings")
Made = TypeVar("Made")


def takes(
    settings: Callable[P, Settings],
) -> Callable[[Callable[[Client, Settings], Made]], Callable[Concatenate[Client, P], Made]]:
    """Makes a method that takes settings accept the fields of the settings as keyword arguments."""

    def decorate(make: Callable[[Client, Settings], Made]) -> Callable[Concatenate[Client, P], Made]:
        def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Made:
            return make(self, settings(*args, **kwargs))

        method.__doc__ = make.__doc__
        method.__name__ = make.__name__
        # For `help` and for documentation.
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = inspect.signature(settings, eval_str=True)
        signature = signature.replace(
            parameters=[own, *signature.parameters.values()], return_annotation=make.__annotations__["return"]
        )
        method.__signature__ = signature  # type: ignore[attr-defined]
        return method

    return decorate


class Client:
    """
    A connection to the broker at `target` (`host:port`, or any gRPC name), for one event loop. It connects with the
    first call. If the broker cannot be reached, the call fails with UNAVAILABLE.
    """

    broker: BrokerStub
    """The calls of producers and consumers."""
    admin: AdminStub
    """Manages topics and subscriptions, and inspects the broker."""

    def __init__(
        self,
        target: str,
        *,
        tls: bool | Tls = False,
        metadata: MetadataSource | None = None,
        window_bytes: int = MIB,
        max_receive_bytes: int = 64 * MIB,
        on_connection_state: Listener | None = None,
    ) -> None:
        """
        `tls`: True for TLS with the defaults. `metadata`: sent with every call, as `{"authorization": "Bearer …"}`,
        or a function that the client calls before every call. `window_bytes`: HTTP/2 receive window of a stream, the
        bytes that the broker may have under way to this client. `max_receive_bytes`: the largest accepted response.
        `on_connection_state`: called with each change of the connection's state, also when an attempt has failed that
        a producer or a consumer repeats; the logger `sluice` reports the same.
        """
        self._channel = open_channel(target, tls=tls, window_bytes=window_bytes, max_receive_bytes=max_receive_bytes)
        self._states = ConnectionStates(target, has_tls=bool(tls), listener=on_connection_state)
        self._calls = Calls(self._channel, metadata, self._states)
        self.broker = BrokerStub(self._calls)
        self.admin = AdminStub(self._calls)

    @takes(ProducerSettings)
    def producer(self, settings: ProducerSettings) -> Producer:
        """Publishes to one topic: `async with client.producer("orders") as producer`. See `ProducerSettings`."""
        return Producer(self._calls, settings)

    @takes(ConsumerSettings)
    def consumer(self, settings: ConsumerSettings) -> Consumer:
        """
        Receives from one subscription: `await client.consumer("orders", "billing").run(handler)`. See
        `ConsumerSettings`.
        """
        return Consumer(self._calls, settings)

    async def close(self) -> None:
        """Closes the connection and ends all calls. Close producers and consumers first."""
        await self._states.close()
        await self._channel.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
