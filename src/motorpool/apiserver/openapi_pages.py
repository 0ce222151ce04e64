"""The OpenAPI documents: built when first asked for, then answered from their bytes.

Clients keep a document for as long as its hash stands, and ask for the index alone on each apply.
"""

import hashlib
from datetime import datetime, timedelta
from email.utils import format_datetime

import msgspec

from motorpool.api import openapi
from motorpool.apiserver.http import Request, Response, json_response
from motorpool.apiserver.negotiation import clauses_of
from motorpool.apiserver.paths import Catalog, GroupVersion

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
DOCUMENT_LIFE = timedelta(days=365)


class OpenApiPages:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._pages: dict[str, tuple[bytes, str]] = {}  # path -> document, hash

    def renew(self, catalog: Catalog, *, group: str) -> None:
        """Answers from *catalog* from now on; only the documents of *group* are new."""
        self._catalog = catalog
        stale = [path for path in self._pages if path.startswith(f"apis/{group}/")]
        for path in stale:
            del self._pages[path]

    def index(self) -> Response:
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._page(path)[1]}"}
            for path in self._paths()
        }
        return json_response({"paths": paths})

    def document(self, request: Request, path: str, now: datetime) -> Response | None:
        """The document of ``api/v1`` or ``apis/GROUP/VERSION``; None where none is."""
        if path not in self._paths():
            return None
        body, digest = self._page(path)
        tag = f'"{digest}"'
        wanted = request.query.get("hash", "")
        if wanted and wanted != digest:
            return Response(301, headers=[("Location", f"/openapi/v3/{path}?hash={digest}")])
        headers = [("ETag", tag), ("Vary", "Accept"), ("Date", format_datetime(now, usegmt=True))]
        if wanted:
            expires = format_datetime(now + DOCUMENT_LIFE, usegmt=True)
            headers += [("Cache-Control", "public, immutable"), ("Expires", expires)]
        else:
            headers.append(("Cache-Control", "no-cache, private"))
        if request.header("if-none-match") == tag:
            return Response(304, headers=headers)
        return Response(200, body, headers=headers)

    def version_2(self, request: Request) -> Response:
        """As protobuf without types: the server itself validates every field. As JSON, with the
        types of the kinds that users defined, which is what is looked for here."""
        for media, _ in clauses_of(request.header("accept")):
            if "protobuf" in media:
                return Response(200, openapi.V2_MINIMAL, V2_PROTOBUF)
        definitions: dict[str, object] = {}
        for path, group_version in self._paths().items():
            if any(kind.is_custom for kind in self._catalog.kinds_of(group_version)):
                definitions |= openapi.definitions_of(msgspec.json.decode(self._page(path)[0]))
        information = {"title": "Kubernetes", "version": "v1.32"}
        document = {"swagger": "2.0", "info": information, "paths": {}, "definitions": definitions}
        answer = json_response(document)
        tag = f'"{hashlib.sha512(answer.body).hexdigest().upper()}"'
        if request.header("if-none-match") == tag:
            return Response(304, headers=[("ETag", tag)])
        answer.headers.append(("ETag", tag))
        return answer

    def _paths(self) -> dict[str, GroupVersion]:
        found = {}
        for group, versions in self._catalog.groups.items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                found[path] = GroupVersion(group, version)
        return found

    def _page(self, path: str) -> tuple[bytes, str]:
        if path not in self._pages:
            group_version = self._paths()[path]
            kinds = self._catalog.kinds_of(group_version)
            document = openapi.document(group_version.group, group_version.version, kinds)
            body = msgspec.json.encode(document)
            self._pages[path] = body, hashlib.sha512(body).hexdigest().upper()
        return self._pages[path]
