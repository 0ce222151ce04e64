"""Files over HTTP: one address, or the many of a hub. Redirects are followed.

The first request asks for one byte only: its answer says size, version and time, and whether the
server knows ranges. Credentials never follow a redirect to another host.
"""

import base64
import re
import ssl
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from motorpool.storage import archives, settings
from motorpool.storage.errors import Interrupted, NothingFound, StorageError
from motorpool.storage.locations import Location
from motorpool.storage.transfer import FromStart, Item

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 10.0
SILENCE_S = 60.0
REDIRECTS_MAX = 10
ATTEMPTS_MAX = 3
_RANGE = re.compile(r"^bytes (\d+)-\d+/(\d+)$")


class WebOrigin:
    """Use it as a context. *headers* go to the first host only."""

    def __init__(self, env: Mapping[str, str], headers: Mapping[str, str]) -> None:
        import httpx

        self._headers = dict(headers)
        self.http = httpx.Client(
            follow_redirects=True,
            max_redirects=REDIRECTS_MAX,
            verify=verification(env),
            timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S),
            headers={"accept-encoding": "identity", "user-agent": "motorpool"},
        )

    def __enter__(self) -> "WebOrigin":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def read(self, item: Item, offset: int) -> Iterator[memoryview]:
        import httpx

        headers = dict(self._headers)
        if offset:
            headers["range"] = f"bytes={offset}-"
            if item.version.startswith('"') or item.version.endswith("GMT"):
                headers["if-range"] = item.version  # a strong tag or a date; digests are neither
        try:
            with self.http.stream("GET", item.address, headers=headers) as response:
                if offset and response.status_code == 416:
                    raise FromStart
                check(response, item.address)
                if offset and not _continues(response, offset):
                    raise FromStart
                # As they come: gathering them would lose the last ones when the connection breaks.
                for block in response.iter_raw():
                    yield memoryview(block)
        except httpx.HTTPError as error:
            raise Interrupted(str(error) or type(error).__name__) from error

    def probe(self, location: Location) -> tuple[Item, str]:
        """What is at an address, and its content type. Raises StorageError."""
        import httpx

        problem = ""
        for _ in range(ATTEMPTS_MAX):
            try:
                return self._probe(location)
            except Interrupted as error:
                problem = str(error)
            except httpx.HTTPError as error:
                problem = str(error) or type(error).__name__
        raise StorageError(
            f"{location.uri}: {problem}: see that the address is right and reachable from here"
        )

    def _probe(self, location: Location) -> tuple[Item, str]:
        headers = self._headers
        request = {**headers, "range": "bytes=0-0"}
        with self.http.stream("GET", location.uri, headers=request) as response:
            if response.status_code != 416:
                check(response, location.uri)
                return _item(location, response), _content_type(response)
        with self.http.stream("GET", location.uri, headers=headers) as response:  # an empty file
            check(response, location.uri)
            return _item(location, response), _content_type(response)


def file_name(item: Item, content_type: str) -> str:
    """The name to save under; an archive's type completes a name that does not tell it."""
    ending = archives.TYPES.get(content_type, "")
    if ending and not archives.is_archive(item.path):
        return item.path + ending
    return item.path


def check(response: "httpx.Response", url: str) -> None:
    """Raises what an answer that is no file means."""
    code = response.status_code
    if code in (200, 206):
        return
    host = response.request.url.host
    if code in (401, 403):
        raise StorageError(
            f"{url}: {host} refuses access (HTTP {code}): give request headers in a Secret with "
            "https-host and headers, attached to the service account, or correct them"
        )
    if code in (404, 410):
        raise NothingFound(f"no model at {url}: {host} has nothing there (HTTP {code}); "
                           "correct the address")  # fmt: skip
    if code in (408, 425, 429) or code >= 500:
        raise Interrupted(f"{host} answers HTTP {code}")
    raise StorageError(f"{url}: {host} answers HTTP {code}: correct the address")


def _item(location: Location, response: "httpx.Response") -> Item:
    headers = response.headers
    found = _RANGE.match(headers.get("content-range", ""))
    size = int(found[2]) if found else None
    if response.status_code == 200 and headers.get("content-length", "").isdecimal():
        size = int(headers["content-length"])
    modified = None
    if headers.get("last-modified"):
        try:
            modified = parsedate_to_datetime(headers["last-modified"]).timestamp()
        except ValueError:
            modified = None
    return Item(
        path=location.path,
        address=location.uri,
        size=size,
        version=headers.get("etag") or headers.get("last-modified") or "",
        modified_s=modified,
        digest=_digest(response),
    )


def _digest(response: "httpx.Response") -> tuple[str, str] | None:
    """The checksum of the whole file, in either spelling of its header."""
    text = response.headers.get("repr-digest") or response.headers.get("digest") or ""
    found = re.search(r"sha-256=:?([A-Za-z0-9+/]{43}=):?", text, re.IGNORECASE)
    return ("sha256", base64.b64decode(found[1]).hex()) if found else None


def _continues(response: "httpx.Response", offset: int) -> bool:
    found = _RANGE.match(response.headers.get("content-range", ""))
    return response.status_code == 206 and found is not None and int(found[1]) == offset


def _content_type(response: "httpx.Response") -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def verification(env: Mapping[str, str]) -> ssl.SSLContext | bool:
    if not settings.verifies(env):
        return False
    context = ssl.create_default_context()
    file = settings.ca_file(env)
    if file:
        try:
            context.load_verify_locations(file)
        except OSError as error:
            raise StorageError(f"the CA bundle {file} cannot be used ({error}): correct the "
                               "ConfigMap that it comes from") from error  # fmt: skip
    return context
