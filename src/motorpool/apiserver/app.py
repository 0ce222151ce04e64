"""The Kubernetes API as an ASGI application. The only file that knows which path is what.

Bare ASGI: every path is either one of a dozen fixed ones or a kind's, so there is nothing that a
web framework would route.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from motorpool.api.errors import (
    ApiError,
    InternalError,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Timeout,
)
from motorpool.api.kinds import Kind
from motorpool.api.streams import PodStreams
from motorpool.apiserver import documents, reviews
from motorpool.apiserver.access.accounts import AccountTokens
from motorpool.apiserver.access.gate import Gate
from motorpool.apiserver.access.shares import Limits, Shares
from motorpool.apiserver.authentication import Authenticator, Authenticators, User
from motorpool.apiserver.http import (
    Receive,
    Request,
    Response,
    Scope,
    Send,
    Stream,
    Streams,
    Takeover,
    error_response,
    json_response,
    send_response,
    text_response,
)
from motorpool.apiserver.negotiation import clauses_of
from motorpool.apiserver.openapi_pages import OpenApiPages
from motorpool.apiserver.paths import Catalog, Target, target_of
from motorpool.apiserver.registry import Registry
from motorpool.apiserver.resources import Resources, warning

log = structlog.get_logger(__name__)

CONFIGURATION_PAGE = "/.well-known/openid-configuration"
ISSUER_PAGES = (CONFIGURATION_PAGE, "/openid/v1/jwks")
KEY_SET = "application/jwk-set+json"

REQUEST_TIME_S = 60.0

KUBERNETES_MINOR = 32
KUBERNETES_PATCH = 13


@dataclass(frozen=True, slots=True)
class Version:
    """What ``/version`` says. kubectl picks its own version by it; Helm reads it too."""

    git_version: str = f"v1.{KUBERNETES_MINOR}.{KUBERNETES_PATCH}+motorpool"
    git_commit: str = ""
    build_date: str = "1970-01-01T00:00:00Z"


def build_app(
    registry: Registry,
    *,
    tokens: Authenticator,
    streams: PodStreams | None = None,
    accounts: AccountTokens | None = None,
    version: Version | None = None,
    limits: Limits | None = None,
) -> "App":
    return App(registry, tokens, streams, accounts, version or Version(), Shares(limits))


class App:
    def __init__(
        self,
        registry: Registry,
        tokens: Authenticator,
        streams: PodStreams | None,
        accounts: AccountTokens | None,
        version: Version,
        shares: Shares,
    ) -> None:
        self._registry = registry
        self._accounts = accounts
        self._shares = shares
        members = (tokens,) if accounts is None else (tokens, accounts)
        self._gate = Gate(Authenticators(members), registry.policy)
        self._catalog = Catalog((*registry.kinds, *reviews.KINDS))
        self._resources = Resources(registry, streams, self._gate)
        self._openapi = OpenApiPages(self._catalog)
        self._version = version
        self._streams = Streams()
        registry.kinds.subscribe(self._learn)

    def _learn(self, name: str, kinds: Sequence[Kind]) -> None:
        """Serves what a definition brings, from the next request on."""
        self._catalog = Catalog((*self._registry.kinds, *reviews.KINDS))
        self._openapi.renew(self._catalog, group=name.partition(".")[2])

    def end_streams(self) -> None:
        """Ends what would never end by itself: watches and logs that follow."""
        self._streams.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"no {scope['type']} here")
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
            if isinstance(answer, Stream | Takeover):
                with self._shares.streaming(request.user):
                    await self._stream(request, answer, send)
                return
        except ApiError as error:
            answer = error_response(error)
        except ConnectionResetError:
            return
        except Exception as error:
            log.exception("defect", method=request.method, path=request.path)
            answer = error_response(InternalError(f"Internal error occurred: {error}"))
        await send_response(request, answer, send)

    async def _stream(self, request: Request, answer: Stream | Takeover, send: Send) -> None:
        if isinstance(answer, Stream):
            await self._streams.send(request, answer, send)
        else:
            await answer.run(request)

    async def _answer(self, request: Request) -> Response | Stream | Takeover:
        user = await self._gate.user_of(request)
        target = target_of(request.path)
        self._gate.authorize(request, target, user)
        request.user = user.name
        try:
            async with self._shares.running(user.name), asyncio.timeout(REQUEST_TIME_S):
                return await self._served(request, target, user)
        except TimeoutError:
            raise Timeout(
                "Timeout: request did not complete within requested timeout - "
                "context deadline exceeded"
            ) from None

    async def _served(
        self, request: Request, target: Target | None, user: User
    ) -> Response | Stream | Takeover:
        if target is None or not self._catalog.serves(target.group_version):
            return await self._page(request)
        if not target.plural:
            return json_response(documents.resource_list(self._catalog, target.group_version))
        kind = self._catalog.kind(target)
        if kind is None or (target.namespace and not kind.namespaced):
            raise NotFound("the server could not find the requested resource")
        return await self._resource(request, kind, user)

    async def _resource(
        self, request: Request, kind: Kind, user: User
    ) -> Response | Stream | Takeover:
        target = target_of(request.path)
        if target is None or request.method in ("HEAD", "OPTIONS"):
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        answer = await self._resources.answer(request, kind, target, user)
        if kind.warning and isinstance(answer, Response):
            answer.headers.append(("Warning", warning(kind.warning)))
        return answer

    async def _page(self, request: Request) -> Response:
        """What is not a resource. Raises NotFound for the group that does not serve a version."""
        path = request.path.rstrip("/")
        fixed = self._fixed_page(request, path)
        if fixed is not None:
            return fixed
        for check in ("healthz", "livez", "readyz"):
            if path == f"/{check}" or path.startswith(f"/{check}/"):
                return await self._health(request, check)
        if self._accounts is not None and path in ISSUER_PAGES:
            return await self._issuer(request, path, self._accounts)
        if path.startswith("/openapi/v3/"):
            found = self._openapi.document(
                request, path.removeprefix("/openapi/v3/"), self._registry.clock()
            )
            if found is not None:
                return found
        parts = path.split("/")
        if parts[1:2] == ["apis"] and len(parts) >= 3 and parts[2] in self._catalog.groups:
            if len(parts) == 3:
                return json_response(documents.group(self._catalog, parts[2]))
            raise NotFound("the server could not find the requested resource")
        return text_response("404 page not found\n", 404)

    def _fixed_page(self, request: Request, path: str) -> Response | None:
        match path:
            case "":
                return json_response({"paths": self._paths()})
            case "/version":
                return json_response(self._version_document())
            case "/api" | "/apis":
                return self._discovery(request, core=path == "/api")
            case "/openapi/v3":
                return self._openapi.index()
            case "/openapi/v2":
                return self._openapi.version_2(request)
        return None

    async def _issuer(self, request: Request, path: str, accounts: AccountTokens) -> Response:
        """What others need to verify an account's token by themselves."""
        if path == CONFIGURATION_PAGE:
            host, port = request.server
            return json_response(accounts.configuration(f"https://{host}:{port}"))
        accepted = [media for media, _ in clauses_of(request.header("accept"))]
        if accepted and not {KEY_SET, "application/*", "*/*"} & set(accepted):
            raise NotAcceptable(f"only the following media types are accepted: {KEY_SET}")
        response = json_response(await accounts.keys())
        response.media = KEY_SET
        return response

    async def _health(self, request: Request, check: str) -> Response:
        """Healthy is who can read the store."""
        try:
            await self._registry.check()
        except ApiError as error:
            text = f"[+]ping ok\n[-]store failed: {error}\n{check} check failed\n"
            return text_response(text, 500)
        if "verbose" not in request.query:
            return text_response("ok")
        return text_response(f"[+]ping ok\n[+]store ok\n{check} check passed\n")

    def _discovery(self, request: Request, *, core: bool) -> Response:
        if documents.wants_aggregated(request.header("accept")):
            body = msgspec.json.encode(documents.aggregated(self._catalog, core=core))
            tag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
            headers = [("ETag", tag), ("Vary", "Accept"), ("Cache-Control", "public")]
            if request.header("if-none-match") == tag:
                return Response(304, headers=headers)
            return Response(200, body, documents.AGGREGATED, headers)
        if core:
            host, port = request.server
            return json_response(documents.api_versions(f"{host}:{port}"))
        return json_response(documents.group_list(self._catalog))

    def _paths(self) -> list[str]:
        paths = {"/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3"}
        paths |= {"/readyz", "/version"}
        for group, versions in self._catalog.groups.items():
            root = f"/apis/{group}" if group else "/api"
            paths |= {root, *(f"{root}/{version}" for version in versions)}
        return sorted(paths)

    def _version_document(self) -> dict[str, str]:
        import platform

        return {
            "major": "1",
            "minor": str(KUBERNETES_MINOR),
            "gitVersion": self._version.git_version,
            "gitCommit": self._version.git_commit,
            "gitTreeState": "clean",
            "buildDate": self._version.build_date,
            "goVersion": f"python{platform.python_version()}",
            "compiler": platform.python_implementation(),
            "platform": f"linux/{_architecture(platform.machine())}",
        }


def _architecture(machine: str) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
