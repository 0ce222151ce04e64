"""libpod's REST API over its unix socket.

Rules: an error answer is a `LibpodError`, an OSError with podman's own words; a service that has
gone is started again and asked once more. Streams are connections of their own, in asyncio: exec
and attach take the connection over.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from motorpool.api.meta import Object

if TYPE_CHECKING:
    import httpx

PREFIX = "/v4.0.0/libpod"
TIMEOUT_S = 60.0
HEAD_BYTES_MAX = 64 * 1024


class LibpodError(OSError):
    """What podman refuses. *status* is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def is_no_change(error: LibpodError) -> bool:
    """Whether what was asked for is so already: it is gone, or does not run."""
    words = str(error)
    return error.status in (304, 404, 409) or "running" in words or "state improper" in words


class Libpod:
    def __init__(self, socket: Callable[[], Awaitable[str]]) -> None:
        """*socket* makes sure that a service listens, and gives its path."""
        self._socket = socket
        self._client: httpx.AsyncClient | None = None
        self._path = ""

    async def get(self, path: str, **params: Any) -> Any:
        return await self._ask("GET", path, params)

    async def post(self, path: str, body: Object | None = None, **params: Any) -> Any:
        return await self._ask("POST", path, params, body)

    async def delete(self, path: str, **params: Any) -> Any:
        return await self._ask("DELETE", path, params)

    async def pull(
        self, reference: str, *, verify: bool | None, header: str
    ) -> AsyncIterator[Object]:
        """What podman says while it pulls, one report after the other."""
        params: dict[str, Any] = {"reference": reference, "policy": "always"}
        if verify is not None:
            params["tlsVerify"] = verify
        headers = {"X-Registry-Auth": header} if header else {}
        client = await self._connected()
        url = f"{PREFIX}/images/pull"
        request = client.build_request("POST", url, params=_plain(params), headers=headers)
        request.extensions["timeout"] = {"connect": TIMEOUT_S, "read": None}
        response = await client.send(request, stream=True)
        try:
            if response.status_code >= 400:
                raise _error(response.status_code, await response.aread())
            async for line in response.aiter_lines():
                if line.strip():
                    yield json.loads(line)
        finally:
            await response.aclose()

    async def stream(
        self, path: str, body: Object | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that podman has handed over. Raises LibpodError."""
        content = json.dumps(body).encode() if body is not None else b""
        reader, writer = await asyncio.open_unix_connection(await self._socket())
        head = (
            f"POST {PREFIX}{path} HTTP/1.1\r\nHost: podman\r\nConnection: Upgrade\r\n"
            f"Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
            "\r\n\r\n"
        )  # What is attached to would get a body as its input.
        try:
            writer.write(head.encode() + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer.split(b" ", 2)[1])
            if status not in (101, 200):
                raise _error(status, await reader.read(HEAD_BYTES_MAX))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            writer.close()
            raise LibpodError(502, f"podman broke off: {error}") from error
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _ask(
        self, method: str, path: str, params: Mapping[str, Any], body: Object | None = None
    ) -> Any:
        import httpx

        for attempt in (1, 2):
            client = await self._connected()
            try:
                response = await client.request(
                    method, PREFIX + path, params=_plain(params), json=body
                )
                break
            except httpx.ConnectError as error:
                await self.close()
                if attempt == 2:
                    raise OSError(f"podman does not answer: {error}") from error
            except httpx.HTTPError as error:
                await self.close()
                text = str(error) or type(error).__name__
                raise OSError(f"podman broke off: {text}") from error
        if response.status_code >= 400:
            raise _error(response.status_code, response.content)
        return json.loads(response.content) if response.content.strip() else None

    async def _connected(self) -> "httpx.AsyncClient":
        path = self._path
        if self._client is None:
            path = await self._socket()
        if self._client is None:  # Nobody else has made it meanwhile.
            import httpx

            transport = httpx.AsyncHTTPTransport(uds=path)
            self._client = httpx.AsyncClient(
                transport=transport, base_url="http://podman", timeout=TIMEOUT_S
            )
            self._path = path
        return self._client


def _plain(params: Mapping[str, Any]) -> dict[str, str]:
    """Query parameters as Go reads them: JSON for what is no scalar."""
    found = {}
    for name, value in params.items():
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, dict | list):
            found[name] = json.dumps(value)
        else:
            found[name] = str(value)
    return found


def _error(status: int, content: bytes) -> LibpodError:
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = content.decode(errors="replace").strip() or f"status {status}"
    return LibpodError(status, message)
