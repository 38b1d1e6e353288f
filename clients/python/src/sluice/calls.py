"""Calls of a broker: with the connection's metadata, with deadlines, and with errors of one kind."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from .connection import MetadataSource
from .connection_state import ConnectionStates
from .errors import SluiceError, StatusCode, from_rpc_error


class Encodable(Protocol):
    """A message that protoc has generated."""

    def SerializeToString(self) -> bytes: ...


Response = TypeVar("Response", covariant=True)


class Decodable(Protocol[Response]):
    """The class of such a message."""

    def FromString(self, data: bytes, /) -> Response: ...


class Calls:
    """The calls under the generated stubs. Every method raises `SluiceError`."""

    def __init__(self, channel: grpc.aio.Channel, metadata: MetadataSource | None, states: ConnectionStates) -> None:
        self.states = states
        self._channel = channel
        self._metadata = metadata

    async def metadata(self, more: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
        """Of one call: that of the connection, and what the call itself adds."""
        self.states.watch(self._channel)
        source = self._metadata
        try:
            given = source() if callable(source) else source
            own = await given if inspect.isawaitable(given) else given
        except Exception as error:
            # As in other gRPC libraries: the source of a token may work again later.
            raise SluiceError(f"no metadata for the call: {error!r}", code=StatusCode.UNAVAILABLE) from error
        merged = {**(own or {}), **(more or {})}
        return [(name.lower(), value) for name, value in merged.items()]

    async def open_stream(self, path: str) -> BytesStream:
        """A stream of requests and responses as bytes, for callers that encode and decode themselves."""
        metadata = await self.metadata()
        return BytesStream(self._channel.stream_stream(path)(metadata=metadata))

    async def unary_unary(
        self,
        path: str,
        request: Encodable,
        response: Decodable[Response],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> Response:
        merged = await self.metadata(metadata)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path)
        try:
            answer = await call(request.SerializeToString(), timeout=timeout, metadata=merged)
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error)
            if failure.code == StatusCode.UNAVAILABLE:
                self.states.failed(failure, None)
            raise failure from error
        return response.FromString(answer)

    async def stream_unary(
        self,
        path: str,
        requests: AsyncIterable[Encodable],
        response: Decodable[Response],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> Response:
        merged = await self.metadata(metadata)
        call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = self._channel.stream_unary(path)
        try:
            answer = await call(encoded(requests), timeout=timeout, metadata=merged)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return response.FromString(answer)

    async def unary_stream(
        self,
        path: str,
        request: Encodable,
        response: Decodable[Response],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> AsyncIterator[Response]:
        merged = await self.metadata(metadata)
        start: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(path)
        call = start(request.SerializeToString(), timeout=timeout, metadata=merged)
        async for answer in responses(call):
            yield response.FromString(answer)

    async def stream_stream(
        self,
        path: str,
        requests: AsyncIterable[Encodable],
        response: Decodable[Response],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> AsyncIterator[Response]:
        merged = await self.metadata(metadata)
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(path)
        call = start(encoded(requests), timeout=timeout, metadata=merged)
        async for answer in responses(call):
            yield response.FromString(answer)


async def encoded(requests: AsyncIterable[Encodable]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request.SerializeToString()


async def responses(call: Any) -> AsyncIterator[bytes]:
    """Leaving the loop cancels the call."""
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        call.cancel()


class BytesStream:
    """One call that streams both ways. Reading and writing are done by one task each."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def write(self, request: bytes) -> bool:
        """Waits while the broker does not read. False: the call has ended, and `read` raises the error."""
        try:
            await self._call.write(request)
        except Exception:
            # The call has ended: grpcio has several classes of errors for this. The call cannot continue after any
            # other error, either.
            self._call.cancel()
            return False
        return True

    async def read(self) -> bytes | None:
        """
        The next response; None after the broker has ended the call without an error. Raises SluiceError otherwise.
        """
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        if response is not grpc.aio.EOF:
            return bytes(response)
        code = await self._call.code()
        if code == StatusCode.OK:
            return None
        raise SluiceError(await self._call.details() or "the call was cancelled", code=code)

    async def half_close(self) -> None:
        """No more requests."""
        try:
            await self._call.done_writing()
        except Exception:
            # As above: it has ended.
            self._call.cancel()

    def cancel(self) -> None:
        """Cancels the call."""
        self._call.cancel()
