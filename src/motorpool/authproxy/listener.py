"""What Envoy asks, over a socket that this user alone can open: HTTP/1.1, one request at a time.

    ANY  /check...               may this request go on? By its header `authorization` alone
    POST /v3/discovery:secrets   the certificate
    GET  /healthz                is anybody there?

A verdict that is known is given in the same turn of the loop; only a question to the API waits.
"""

import asyncio
import json
import re
from typing import Any, cast

import httptools

from motorpool.authproxy.certificate import Certificate, discovery
from motorpool.authproxy.envoy import CHECK_PATH, HEALTH_PATH
from motorpool.authproxy.flags import Settings
from motorpool.authproxy.judge import Judge, Verdict

SECRETS_PATH = "/v3/discovery:secrets"
REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           503: "Service Unavailable"}  # fmt: skip
_UNSPEAKABLE = re.compile(r"[^\x20-\x7e]")


def reply_of(verdict: Verdict, settings: Settings) -> bytes:
    """The answer to Envoy. With 200 its headers go on to the server, else all of it to the client.

    A name that no header can carry is not told, and nothing is let through under another.
    """
    if verdict.status != 200:
        headers = {"content-type": "text/plain; charset=utf-8"}
        if verdict.status == 401:
            headers["www-authenticate"] = "Bearer"
        return _reply(verdict.status, headers, f"{verdict.message}\n".encode())
    told: dict[str, str] = {}
    caller = verdict.caller
    if caller is not None and settings.user_header:
        told[settings.user_header] = caller.name
        told[settings.groups_header] = settings.groups_separator.join(caller.groups)
        if any(_UNSPEAKABLE.search(value) for value in told.values()):
            message = b"the caller's name or groups cannot be told to the server\n"
            return _reply(403, {"content-type": "text/plain"}, message)
    return _reply(200, told, b"")


def _reply(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """One of Envoy's connections. It sends the next request after the answer to the last."""

    def __init__(self, judge: Judge, certificate: Certificate, settings: Settings) -> None:
        self._judge = judge
        self._certificate = certificate
        self._settings = settings
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._path, self._authorization = b"", ""
        self._work: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._work is not None:
            self._work.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.abort()

    # Of the parser

    def on_message_begin(self) -> None:
        self._path, self._authorization = b"", ""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            # Two of them are none: the server might read the other one.
            self._authorization = "" if self._authorization else value.decode("latin-1")

    def on_message_complete(self) -> None:
        path = self._path.decode("latin-1")
        if path.startswith(CHECK_PATH):
            self._check()
        elif path == SECRETS_PATH:
            body = json.dumps(discovery(self._certificate.now())).encode()
            self._write(_reply(200, {"content-type": "application/json"}, body))
        else:
            self._write(_reply(200 if path == HEALTH_PATH else 404, {}, b"ok"))

    def _check(self) -> None:
        verdict = self._judge.known(self._authorization)
        if verdict is not None:
            self._write(reply_of(verdict, self._settings))
        else:
            self._work = asyncio.ensure_future(self._judged(self._authorization))

    async def _judged(self, authorization: str) -> None:
        verdict = await self._judge.judge(authorization)
        self._write(reply_of(verdict, self._settings))

    def _write(self, content: bytes) -> None:
        if self._transport is not None:
            self._transport.write(content)
