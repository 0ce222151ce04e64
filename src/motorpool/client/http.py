"""The `Client` verbs over HTTP, against any conformant server.

A refusal becomes the ApiError that it says it is; a server that cannot be reached is a
ConnectionError. Nothing is retried here: whoever calls knows better when.
"""

import time
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from motorpool.api.errors import ApiError, Expired, InternalError, NotFound, of_status
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.client import ObjectList, Propagation, WatchEvent
from motorpool.client.kubeconfig import Access, read_kubeconfig

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
PAGE_SIZE = 500
WATCH_TIME_S = 300
WATCH_SILENCE_S = 90.0  # a server sends a bookmark each minute; one that does not is given up
EVENT_SIZE_MAX = 16 << 20
TOKEN_FRESH_S = 60.0

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Items: TypeAlias = list[Object]


class HttpClient:
    """Close it, or use it as a context."""

    def __init__(
        self,
        access: Access,
        *,
        manager: str = "motorpool",
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        import httpx

        from motorpool.client.connecting import Transport

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        headers = {"accept": JSON, "user-agent": manager}
        if access.token:
            headers["authorization"] = f"Bearer {access.token}"
        if access.act_as:
            headers["impersonate-user"] = access.act_as
        self._manager = manager
        self._http = httpx.AsyncClient(
            base_url=access.server,
            headers=headers,
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport or Transport(access.tls, limits),
            auth=_token_of(access.token_file) if access.token_file else None,
            trust_env=False,
        )

    @classmethod
    def from_kubeconfig(
        cls, file: Path, *, context: str = "", manager: str = "motorpool"
    ) -> "HttpClient":
        """Raises KubeconfigError."""
        return cls(read_kubeconfig(file, context), manager=manager)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> "HttpClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return await self._call("GET", kind.path(namespace, name))

    async def list(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> ObjectList:
        try:
            return await self._list(kind, namespace, _selectors(labels, fields), PAGE_SIZE)
        except Expired:
            # The list took longer than the server keeps its history: take it in one piece.
            return await self._list(kind, namespace, _selectors(labels, fields), 0)

    async def _list(
        self, kind: Kind, namespace: str, selectors: Mapping[str, str], limit: int
    ) -> ObjectList:
        items: Items = []
        query: dict[str, str] = {**selectors, **({"limit": str(limit)} if limit else {})}
        while True:
            page = await self._call("GET", kind.path(namespace), query)
            for item in page.get("items") or ():
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
                items.append(item)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return ObjectList(items, str(metadata.get("resourceVersion", "")))
            query["continue"] = metadata["continue"]

    async def watch(
        self, kind: Kind, namespace: str = "", *, after: str, labels: str = "", fields: str = ""
    ) -> AsyncIterator[WatchEvent]:
        query = {
            **_selectors(labels, fields),
            "watch": "true",
            "resourceVersion": after,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_TIME_S),
        }
        async with self._stream(kind.path(namespace), query) as response:
            async for line in _lines(response):
                event = _decoded(line)
                if event.get("type") == "ERROR":
                    raise of_status(event["object"])
                if not isinstance(event.get("object"), dict):
                    raise InternalError(f"no watch event: {line[:200]!r}")
                yield WatchEvent(event["type"], event["object"])

    async def create(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        if subresource:
            return await self._call("POST", _path(kind, obj, subresource), None, obj)
        namespace = at(obj, "metadata", "namespace", default="")
        return await self._call("POST", kind.path(namespace), self._managed(), obj)

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        path = _path(kind, obj, subresource)
        return await self._call("PUT", path, self._managed(), obj)

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        path = kind.path(namespace, name, subresource)
        return await self._call("PATCH", path, self._managed(), patch, MERGE_PATCH)

    async def apply(self, kind: Kind, obj: Object, *, manager: str) -> Object:
        query = {"fieldManager": manager, "force": "true"}
        return await self._call("PATCH", _path(kind, obj), query, obj, APPLY_PATCH)

    async def replace_status(self, kind: Kind, obj: Object, status: Object) -> Object:
        if obj.get("status") == status:
            return obj
        return await self.update(kind, {**obj, "status": status}, subresource="status")

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_s: int | None = None,
        propagation: Propagation = "Background",
    ) -> None:
        body: Object = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
        }
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        await self._call("DELETE", kind.path(namespace, name), None, body)

    async def version(self) -> Object:
        """What the server says of itself at ``/version``."""
        return await self._call("GET", "/version")

    async def resources(self, group: str, version: str) -> Items:
        """The resources of a group and version as discovery lists them; none where it is not."""
        try:
            found = await self._call("GET", f"/apis/{group}/{version}")
        except NotFound:
            return []
        return list(found.get("resources") or ())

    def _managed(self) -> dict[str, str]:
        return {"fieldManager": self._manager}

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        media: str = JSON,
    ) -> Object:
        import httpx

        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": media}
        try:
            response = await self._http.request(
                method, path, params=query, content=content, headers=headers
            )
        except httpx.TransportError as error:
            raise _unreachable(error) from error
        if response.status_code >= 400:
            raise _refusal(response, response.content)
        return _decoded(response.content)

    @asynccontextmanager
    async def _stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator["httpx.Response"]:
        import httpx

        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=WATCH_SILENCE_S)
        request = self._http.build_request("GET", path, params=query, timeout=timeout)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise _unreachable(error) from error
        try:
            if response.status_code >= 400:
                raise _refusal(response, await response.aread())
            yield response
        finally:
            await response.aclose()


def _token_of(file: Path) -> "httpx.Auth":
    """Authenticates with the token that the file holds now; reads it again where it is refused."""
    import httpx

    class TokenFile(httpx.Auth):
        def __init__(self) -> None:
            self._token = ""
            self._read_at = -TOKEN_FRESH_S

        def auth_flow(
            self, request: httpx.Request
        ) -> Generator[httpx.Request, httpx.Response, None]:
            if time.monotonic() - self._read_at >= TOKEN_FRESH_S:
                self._read()
            sent = self._token
            request.headers["authorization"] = f"Bearer {sent}"
            response = yield request
            if response.status_code != 401:
                return
            self._read()
            if self._token != sent:
                request.headers["authorization"] = f"Bearer {self._token}"
                yield request

        def _read(self) -> None:
            self._token = file.read_text().strip()
            self._read_at = time.monotonic()

    return TokenFile()


async def _lines(response: "httpx.Response") -> AsyncIterator[bytes]:
    """Whole lines, until the stream ends or breaks: the watcher goes on from where it is."""
    import httpx

    rest = b""
    try:
        async for chunk in response.aiter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield line
            if len(rest) > EVENT_SIZE_MAX:
                raise InternalError(f"a watch event of more than {EVENT_SIZE_MAX} bytes")
    except httpx.TransportError:
        return


def _path(kind: Kind, obj: Object, subresource: str = "") -> str:
    metadata = obj["metadata"]
    return kind.path(metadata.get("namespace", ""), metadata["name"], subresource)


def _selectors(labels: str, fields: str) -> dict[str, str]:
    found = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in found.items() if value}


def _decoded(body: bytes) -> Object:
    """What a server says, which a proxy in between may have said instead."""
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict):
        raise InternalError(f"the server answered no object: {body[:200]!r}")
    return document


def _refusal(response: "httpx.Response", body: bytes) -> ApiError:
    code = response.status_code
    try:
        status: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body.decode("utf-8", "replace").strip()[:200]
        status = {"message": f"the server answered {code}: {text}"}
    after = response.headers.get("retry-after", "")
    details = dict(status.get("details") or {})
    if after.isdigit():
        details.setdefault("retryAfterSeconds", int(after))
    return of_status({"code": code, **status, "details": details or None})


def _unreachable(error: Exception) -> ConnectionError:
    return ConnectionError(f"the API server cannot be reached: {error or type(error).__name__}")
