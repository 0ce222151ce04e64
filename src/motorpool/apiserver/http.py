"""Requests and responses over ASGI: just what the API needs of HTTP."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec
import structlog

from motorpool.api.errors import ApiError, RequestEntityTooLarge

if TYPE_CHECKING:
    from motorpool.apiserver.streaming.upgrade import Upgrade, Wire

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger(__name__)

UPGRADE_EXTENSION = "motorpool.upgrade"
BODY_SIZE_MAX = 3 << 20
GZIP_SIZE_MIN = 128 << 10

_encoder = msgspec.json.Encoder()


class Request:
    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.user = ""  # who asks, once that is known
        self.path: str = scope["path"]
        self.query: dict[str, str] = dict(
            parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        )
        self.server: tuple[str, int] = scope.get("server") or ("127.0.0.1", 0)
        self.raw_query: str = scope["query_string"].decode("latin-1")
        self._raw: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._headers: dict[bytes, bytes] = dict(self._raw)
        self._upgrade: Upgrade | None = (scope.get("extensions") or {}).get(UPGRADE_EXTENSION)
        self._receive = receive

    def header(self, name: str) -> str:
        return self._headers.get(name.lower().encode("latin-1"), b"").decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All of them, their names in lower case; those that are repeated too."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw]

    def header_values(self, name: str) -> list[str]:
        """All values of a header that may be repeated, or hold several."""
        texts = [value for key, value in self.headers if key == name.lower()]
        return [part.strip() for text in texts for part in text.split(",") if part.strip()]

    @property
    def upgrade_to(self) -> str:
        """The protocol that the client asks to go over to, in lower case; else ""."""
        return self.header("upgrade").lower() if self._upgrade is not None else ""

    def upgrade(self, headers: list[tuple[str, str]]) -> "Wire":
        """Answers 101 with *headers*; from then on the connection is no longer HTTP."""
        if self._upgrade is None:
            raise RuntimeError("this request cannot leave HTTP")
        return self._upgrade.take(headers)

    async def body(self) -> bytes:
        """Raises RequestEntityTooLarge."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client went away")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > BODY_SIZE_MAX:
                raise RequestEntityTooLarge(f"Request entity too large: limit is {BODY_SIZE_MAX}")
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    async def gone(self) -> None:
        """Returns once the client has gone away. For requests whose body is read or empty."""
        while (await self._receive())["type"] != "http.disconnect":
            continue


@dataclass(slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    media: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
    compressible: bool = True


@dataclass(slots=True)
class Takeover:
    """An answer that takes the connection away from HTTP and ends when the connection may."""

    run: Callable[[Request], Awaitable[None]]


@dataclass(slots=True)
class Stream:
    """A body that comes piece by piece, for at most *timeout_s*."""

    chunks: AsyncIterator[bytes]
    media: str = "application/json"
    timeout_s: float | None = None


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, _encoder.encode(value) + b"\n")


def text_response(text: str, status: int = 200) -> Response:
    return Response(status, text.encode(), "text/plain; charset=utf-8")


def error_response(error: ApiError) -> Response:
    response = json_response(error.status(), error.code)
    if error.retry_after_s is not None:
        response.headers.append(("Retry-After", str(error.retry_after_s)))
    return response


async def send_response(request: Request, response: Response, send: Send) -> None:
    body = response.body
    headers = list(response.headers)
    if response.status != 304:  # else caches would take the type for the type of what they keep
        headers.append(("content-type", response.media))
    if not any(name.lower() == "cache-control" for name, _ in response.headers):
        headers.append(("cache-control", "no-cache, private"))
    if (
        response.compressible
        and len(body) > GZIP_SIZE_MIN
        and "gzip" in request.header("accept-encoding")
    ):
        body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
        headers += [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]
    headers.append(("content-length", str(len(body))))
    await send(_start(response.status, headers))
    body = b"" if request.method == "HEAD" else body
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Streams:
    """The streams that are being sent, so that all can be ended at once."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()

    def end(self) -> None:
        """Ends every stream as if its time were over: the clients see a clean end."""
        for deadline in self._deadlines:
            _bring_forward(deadline)

    async def send(self, request: Request, stream: Stream, send: Send) -> None:
        """Until the stream ends, its time is over, or the client leaves, whichever is first.

        What fails before the first piece is raised, and can still be answered with an error;
        what fails later can only end the stream.
        """
        headers = [("content-type", stream.media), ("cache-control", "no-cache, private")]
        started = False
        try:
            async with (
                asyncio.timeout(stream.timeout_s) as deadline,
                self._ending(request, stream, deadline),
            ):
                async for chunk in stream.chunks:
                    if not started:
                        started = True
                        await send(_start(200, headers))
                    if chunk:
                        await send(_piece(chunk))
        except TimeoutError:
            if not deadline.expired():
                raise
        except ApiError as error:
            if not started:
                raise
            log.warning("stream broke off", path=request.path, error=str(error))
        if not started:
            await send(_start(200, headers))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @asynccontextmanager
    async def _ending(
        self, request: Request, stream: Stream, deadline: asyncio.Timeout
    ) -> AsyncIterator[None]:
        leaving = asyncio.create_task(_end_with(request, deadline))
        self._deadlines.add(deadline)
        try:
            yield
        finally:
            self._deadlines.discard(deadline)
            leaving.cancel()
            await _close(stream.chunks)


async def _end_with(request: Request, deadline: asyncio.Timeout) -> None:
    await request.gone()
    _bring_forward(deadline)


def _bring_forward(deadline: asyncio.Timeout) -> None:
    if not deadline.expired():
        deadline.reschedule(asyncio.get_running_loop().time())


async def _close(chunks: AsyncIterator[bytes]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


def _start(status: int, headers: list[tuple[str, str]]) -> Message:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": raw}


def _piece(chunk: bytes) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": True}
