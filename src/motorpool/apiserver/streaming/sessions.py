"""``pods/exec`` and ``pods/attach``: from the request to the last byte.

Rules: whatever can be refused is refused before the connection leaves HTTP, with an ordinary
Status; what goes wrong after that ends the session with a Status on its error channel. A session
ends with its client.
"""

import asyncio
from urllib.parse import parse_qs

import msgspec
import structlog

from motorpool.api.errors import ApiError, BadRequest, Forbidden, InternalError
from motorpool.api.meta import Object
from motorpool.api.streams import PodStreams, Session, SessionOptions
from motorpool.apiserver.http import Request, Takeover
from motorpool.apiserver.streaming import websocket
from motorpool.apiserver.streaming.remotes import (
    SPDY_PROTOCOLS,
    WEBSOCKET_PROTOCOLS,
    Client,
    SpdyClient,
    WebSocketClient,
)
from motorpool.apiserver.streaming.upgrade import Wire

log = structlog.get_logger(__name__)

GOODBYE_S = 2.0
STREAMS = ("stdin", "stdout", "stderr", "tty")


def options_of(query: str) -> SessionOptions:
    """Raises BadRequest."""
    found = parse_qs(query, keep_blank_values=True)
    flags = {name: (found.get(name) or [""])[-1].lower() in ("true", "1") for name in STREAMS}
    if not (flags["stdin"] or flags["stdout"] or flags["stderr"]):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return SessionOptions(tuple(found.get("command") or ()), **flags)


async def open_session(
    request: Request, pod: Object, container: str, subresource: str, streams: PodStreams
) -> Takeover:
    """Raises ApiError."""
    options = options_of(request.raw_query)
    protocol = negotiated(request, WEBSOCKET_PROTOCOLS, SPDY_PROTOCOLS)
    if subresource == "exec":
        if not options.command:
            raise BadRequest("you must specify at least 1 command for the container")
        session = await streams.exec(pod, container, options)
    else:
        session = await streams.attach(pod, container, options)

    async def run(request: Request) -> None:
        wire = upgraded(request, protocol)
        client: Client = SpdyClient(wire, options)
        if request.upgrade_to == "websocket":
            client = WebSocketClient(wire, protocol)
        try:
            await converse(client, session)
        finally:
            wire.close()

    return Takeover(run)


async def converse(client: Client, session: Session) -> None:
    """Until the session has ended and the client knows, or the client has left."""
    receiving = asyncio.create_task(client.receive())
    working = asyncio.create_task(_work(client, session))
    try:
        await asyncio.wait((receiving, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            await asyncio.wait((receiving,), timeout=GOODBYE_S)
    except ConnectionError:
        return
    finally:
        for task in (receiving, working):
            task.cancel()
        await asyncio.gather(receiving, working, return_exceptions=True)


async def _work(client: Client, session: Session) -> None:
    try:
        await client.begin()
        status = status_of(await session(client))
    except ApiError as error:
        status = error.status()
    except (ConnectionError, TimeoutError):
        raise ConnectionResetError("the client went away") from None
    except Exception as error:
        log.exception("defect")
        status = InternalError(f"Internal error occurred: {error}").status()
    await client.finish(msgspec.json.encode(status))


def status_of(exit_code: int) -> Object:
    if exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def negotiated(request: Request, websockets: tuple[str, ...], spdy: tuple[str, ...]) -> str:
    """The first of the client's protocols that is spoken here. Raises BadRequest, Forbidden."""
    if request.upgrade_to == "websocket":
        offered = request.header_values("sec-websocket-protocol")
        if not request.header("sec-websocket-key"):
            raise BadRequest("the WebSocket handshake lacks Sec-WebSocket-Key")
        for protocol in offered:
            if protocol in websockets:
                return protocol
        names = ", ".join(websockets)
        raise BadRequest(f"unable to upgrade: none of {offered} is supported; there are {names}")
    if request.upgrade_to == "spdy/3.1":
        offered = request.header_values("x-stream-protocol-version")
        for protocol in offered:
            if protocol in spdy:
                return protocol
        names = ", ".join(spdy)
        raise Forbidden(
            f"unable to upgrade: unable to negotiate protocol: client supports {offered}, "
            f"server accepts [{names}]"
        )
    raise BadRequest("Upgrade request required")


def upgraded(request: Request, protocol: str) -> Wire:
    """Answers 101; what follows is the client's and ours."""
    if request.upgrade_to == "websocket":
        return request.upgrade(
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", websocket.accept_key(request.header("sec-websocket-key"))),
                ("Sec-WebSocket-Protocol", protocol),
            ]
        )
    return request.upgrade(
        [
            ("Upgrade", "SPDY/3.1"),
            ("Connection", "Upgrade"),
            ("X-Stream-Protocol-Version", protocol),
        ]
    )
