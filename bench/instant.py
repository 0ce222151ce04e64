"""A server that answers kubectl at once, for `bench.api` to compare `kubectl apply` with.

It has fetched its discovery and OpenAPI documents from a real server before, knows no object, and
takes whatever is created. Run as ``python -m bench.instant URL TOKEN CERTIFICATE KEY``; it prints
its own URL and answers until it is told to stop.
"""

import asyncio
import ssl
import sys
from http.client import HTTPSConnection
from urllib.parse import urlsplit

MISSING = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"not found","reason":"NotFound","code":404}'  # noqa: E501


class Instant(asyncio.Protocol):
    def __init__(self, source: "Source") -> None:
        self.source = source
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            line, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (header.partition(":") for header in lines)
            }
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            body, self.buffer = rest[:length], rest[length:]
            method, path, _ = line.split(" ", 2)
            self.transport.write(self.source.answer(method, path, headers, body))


class Source:
    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = urlsplit(url), token
        self.pages: dict[tuple[str, str], bytes] = {}

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if method == "POST":
            return _response("201 Created", "application/json", body)
        if "/namespaces/" in path:
            return _response("404 Not Found", "application/json", MISSING)
        accept = headers.get("accept", "")
        if (path, accept) not in self.pages:
            self.pages[path, accept] = self._fetched(path, accept)
        return self.pages[path, accept]

    def _fetched(self, path: str, accept: str) -> bytes:
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(self.url.hostname or "", self.url.port, context=trust)
        wanted = {"Accept": accept, "Authorization": f"Bearer {self.token}"}
        connection.request("GET", path, headers=wanted)
        answer = connection.getresponse()
        media = answer.headers.get("content-type", "application/json")
        body = answer.read()
        connection.close()
        return _response(f"{answer.status} {answer.reason}", media, body)


def _response(status: str, media: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def main() -> None:
    url, token, certificate, key = sys.argv[1:]
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(certificate, key)
    source = Source(url, token)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Instant(source), "127.0.0.1", 0, ssl=trust)
    print(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
