"""One repository of one registry, over the distribution API. Blocking: called from threads.

Rules:
  1. Plain HTTP goes to this machine only, redirects included; TLS is always verified.
  2. Credentials are looked up when the registry asks, and go only where it asks for them.
  3. What may pass by itself (connections, 429, 5xx) is tried again, a bounded number of times in
     a row; bytes that arrived reset the count. Everything else is an ImageError at once.
  4. Nothing here trusts a byte: callers verify digests.
"""

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin

from motorpool.base.backoff import Backoff
from motorpool.images.auth import Challenge, auth_files, find_credentials, parse_challenge
from motorpool.images.cancellation import Cancellation
from motorpool.images.errors import Cancelled, ImageError, RefusedContent
from motorpool.images.manifest import ACCEPTED, MANIFEST_BYTES_MAX, Descriptor, Manifest
from motorpool.images.reference import DOCKER_HUB, Reference, is_loopback
from motorpool.images.response import Passing, detail, joined, read, speaks_tls, start_of, words

if TYPE_CHECKING:
    import httpx

TRIES_MAX = 5
BACKOFF = Backoff(0.2, 5.0)
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
TOKEN_BYTES_MAX = 1 << 20
_ACCEPT = {"Accept": ", ".join(ACCEPTED)}
_PASSING = (408, 425, 429, 500, 502, 503, 504)

T = TypeVar("T")


class Registry:
    def __init__(
        self,
        reference: Reference,
        cancelled: Cancellation,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        import httpx

        self.reference = reference
        self._cancelled = cancelled
        self._environment = os.environ if environment is None else environment
        self._is_local = is_loopback(reference.registry)
        self._scheme = "" if self._is_local else "https"
        self._authorization: dict[str, str] = {}
        self._lock = threading.Lock()
        self._open_sockets: set[socket.socket] = set()
        cancelled.on_set(self._shut_sockets)
        self._client = httpx.Client(
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=16),
            headers={"User-Agent": "motorpool", "Accept-Encoding": "identity"},
            follow_redirects=True,
            max_redirects=5,
            # Not httpx's own bundle: the CA of a company's registry is in the system's.
            verify=ssl.create_default_context(),
            # No proxy stands between this machine and itself.
            trust_env=not self._is_local,
            event_hooks={"request": [_refuse_plain_http]},
        )

    def close(self) -> None:
        self._client.close()

    # Pulling.

    def manifest(self, version: str) -> tuple[bytes, str]:
        """The bytes of the manifest that *version* (tag or digest) names, and their type."""

        def get() -> tuple[bytes, str]:
            with self._open("GET", f"manifests/{version}", headers=_ACCEPT) as response:
                self._expect(response, 200)
                raw = read(response, MANIFEST_BYTES_MAX)
                return raw, response.headers.get("Content-Type", "").split(";")[0].strip()

        return self._again(get)

    def blob(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes of *blob* from *offset* on, through as many connections as it takes."""
        failures = 0
        while offset < blob.size:
            try:
                for chunk in self._blob_once(blob, offset):
                    offset += len(chunk)
                    failures = 0
                    yield chunk
                if offset < blob.size:
                    raise Passing(f"the connection ended after {offset} of {blob.size} bytes")
            except Passing as error:
                failures += 1
                self._wait(failures, error)

    def _blob_once(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._open("GET", f"blobs/{blob.digest}", headers=headers) as response:
            self._expect(response, 200, 206)
            start = start_of(response)
            if start > offset:
                raise Passing(f"asked for byte {offset}, got byte {start}")
            yield from joined(self._raw(response), skip=offset - start)

    def _raw(self, response: "httpx.Response") -> Iterator[bytes]:
        import httpx

        connection = response.extensions["network_stream"].get_extra_info("socket")
        self._open_sockets.add(connection)
        try:
            for chunk in response.iter_raw():
                if self._cancelled.is_set():
                    raise Cancelled
                yield chunk
        except httpx.TransportError as error:
            raise Passing(words(error)) from error
        finally:
            self._open_sockets.discard(connection)

    def _shut_sockets(self) -> None:
        """Wakes the threads that wait for bytes."""
        for connection in list(self._open_sockets):
            # Not SSLSocket's own method, which pulls the state away from under its reader.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    # Pushing.

    def has(self, kind: str, digest: str) -> bool:
        """Whether ``blobs`` or ``manifests`` holds *digest* already."""

        def head() -> bool:
            with self._open("HEAD", f"{kind}/{digest}", headers=_ACCEPT, push=True) as response:
                if response.status_code == 404:
                    return False
                self._expect(response, 200)
                return True

        return self._again(head)

    def upload(
        self, blob: Descriptor, content: Callable[[], Iterator[bytes]], mount_from: str | None
    ) -> None:
        """Sends *blob* in one go; *content* gives its bytes anew for each try.

        With *mount_from*, a repository of this registry that should have it, nothing may be sent.
        """
        if mount_from and self._again(lambda: self._mount(blob, mount_from)):
            return

        def put() -> None:
            with self._open("POST", "blobs/uploads/", push=True) as started:
                self._expect(started, 202)
                location = started.headers.get("Location", "")
            target = urljoin(str(started.url), location)
            target += ("&" if "?" in target else "?") + f"digest={blob.digest}"
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(blob.size),
            }
            body = self._counted(content())
            with self._open("PUT", target, headers=headers, content=body, push=True) as done:
                self._expect(done, 201)

        self._again(put)

    def _mount(self, blob: Descriptor, mount_from: str) -> bool:
        """Whether the registry took *blob* over; one that does not, or may not, is no fault."""
        path = f"blobs/uploads/?mount={blob.digest}&from={quote(mount_from, safe='')}"
        with self._open("POST", path, push=True) as response:
            return response.status_code == 201

    def put_manifest(self, manifest: Manifest, version: str) -> None:
        def put() -> None:
            headers = {"Content-Type": manifest.media_type}
            path = f"manifests/{version}"
            with self._open(
                "PUT", path, headers=headers, content=manifest.raw, push=True
            ) as response:
                self._expect(response, 201)

        self._again(put)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._cancelled.is_set():
                raise Cancelled
            yield chunk

    # One exchange.

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        content: Any = None,
        push: bool = False,
    ) -> Iterator["httpx.Response"]:
        """A response whose body is not read yet. Logs in where the registry asks for it."""
        import httpx

        try:
            response = self._send(method, path, headers or {}, content)
            if response.status_code == 401:
                sent = response.request.headers.get("Authorization")
                challenge = response.headers.get("WWW-Authenticate", "")
                response.close()
                self._log_in(parse_challenge(challenge), sent, push=push)
                if content is not None and not isinstance(content, bytes):
                    raise Passing("the registry asked to log in again")
                response = self._send(method, path, headers or {}, content)
        except httpx.TransportError as error:
            raise Passing(words(error)) from error
        except httpx.TooManyRedirects as error:
            raise ImageError(f"registry {self.reference.registry} redirects in circles") from error
        try:
            yield response
        except httpx.TransportError as error:
            raise Passing(words(error)) from error
        finally:
            response.close()

    def _send(
        self, method: str, path: str, headers: dict[str, str], content: Any
    ) -> "httpx.Response":
        if self._cancelled.is_set():
            raise Cancelled
        with self._lock:
            self._scheme = self._scheme or self._local_scheme()
        url = path if "://" in path else self._url(path)
        # An upload may be continued elsewhere; what the registry gave us is not for others.
        own = _origin(url) == _origin(self._url(""))
        request = self._client.build_request(
            method,
            url,
            headers={**headers, **(self._authorization if own else {})},
            content=content,
        )
        return self._client.send(request, stream=True)

    def _local_scheme(self) -> str:
        """What a registry of this machine speaks: one with TLS tells plain HTTP so, with a 400."""
        request = self._client.build_request("GET", f"http://{self.reference.registry}/v2/")
        response = self._client.send(request, stream=True)
        try:
            return "https" if response.status_code == 400 and speaks_tls(response) else "http"
        finally:
            response.close()

    def _url(self, path: str) -> str:
        host = self.reference.registry
        host = "registry-1.docker.io" if host == DOCKER_HUB else host
        return f"{self._scheme}://{host}/v2/{self.reference.repository}/{path}"

    def _expect(self, response: "httpx.Response", *statuses: int) -> None:
        status = response.status_code
        if status in statuses:
            return
        if status in _PASSING:
            raise Passing(f"it answered {status}")
        where = f"registry {self.reference.registry}"
        if status in (401, 403):
            raise ImageError(
                f"{where} does not let us at {self.reference.repository} ({status}); "
                f"`podman login {self.reference.registry}` stores the credentials used here"
            )
        if status == 404:
            raise ImageError(
                f"{where} has no {self.reference} (404); check name and tag, or push it first"
            )
        raise ImageError(
            f"{where} answered {status} to {response.request.method}{detail(response)}"
        )

    # Logging in.

    def _log_in(self, challenge: Challenge, sent: str | None, *, push: bool) -> None:
        with self._lock:
            current = self._authorization.get("Authorization")
            if current != sent:
                return  # another thread has logged in meanwhile
            home = Path(self._environment.get("HOME", "/"))
            credentials = find_credentials(auth_files(self._environment, home), self.reference)
            basic = (credentials.user, credentials.password) if credentials else None
            if challenge.scheme == "basic" and basic:
                import httpx

                request = httpx.Request("GET", self._url(""))
                flow = httpx.BasicAuth(*basic).auth_flow(request)
                header = next(flow).headers["Authorization"]
            elif challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                header = f"Bearer {self._token(challenge, basic, push=push)}"
            else:
                return  # the 401 that follows says what to do
            self._authorization = {"Authorization": header}

    def _token(self, challenge: Challenge, basic: tuple[str, str] | None, *, push: bool) -> str:
        actions = "pull,push" if push else "pull"
        parameters = {"scope": f"repository:{self.reference.repository}:{actions}"}
        if "service" in challenge.parameters:
            parameters["service"] = challenge.parameters["service"]
        request = self._client.build_request(
            "GET", challenge.parameters["realm"], params=parameters
        )
        import httpx

        auth = httpx.BasicAuth(*basic) if basic else None
        response = self._client.send(request, stream=True, auth=auth)
        try:
            self._expect(response, 200)
            raw = read(response, TOKEN_BYTES_MAX)
        finally:
            response.close()
        try:
            content = json.loads(raw)
            token = content.get("token") or content["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise ImageError(
                f"registry {self.reference.registry} gave no token; log in anew"
            ) from error
        return str(token)

    # Trying again.

    def _again(self, action: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return action()
            except Passing as error:
                failures += 1
                self._wait(failures, error)

    def _wait(self, failures: int, error: Passing) -> None:
        """Before the next try; raises ImageError where there is none left."""
        if failures >= TRIES_MAX:
            raise ImageError(
                f"registry {self.reference.registry} cannot be reached for {self.reference}: "
                f"{error}; check that it runs and that this machine may reach it"
            ) from error
        if self._cancelled.wait(BACKOFF.delay_s(failures)):
            raise Cancelled


def _refuse_plain_http(request: "httpx.Request") -> None:
    if request.url.scheme != "https" and not is_loopback(request.url.host):
        raise RefusedContent(
            f"'{request.url.host}' would be reached without TLS, which only this machine may be"
        )


def _origin(url: str) -> tuple[str, ...]:
    return tuple(url.split("/", 3)[:3])
