"""Hugging Face's hub: a model's revision is a list of files, each with its digest.

HF_TOKEN authenticates, HF_ENDPOINT names another hub.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from motorpool.storage.errors import Interrupted, NothingFound, StorageError
from motorpool.storage.locations import Location
from motorpool.storage.transfer import Item
from motorpool.storage.web import ATTEMPTS_MAX, WebOrigin

ENDPOINT = "https://huggingface.co"


def headers_of(env: Mapping[str, str]) -> dict[str, str]:
    token = env.get("HF_TOKEN", "")
    return {"authorization": f"Bearer {token}"} if token else {}


def items(
    location: Location, origin: WebOrigin, env: Mapping[str, str], chosen: Callable[[str], bool]
) -> list[Item]:
    """The files of a model's revision. Raises StorageError."""
    endpoint = (env.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    model = _model(location, origin, endpoint, env)
    commit = str(model.get("sha") or location.revision)
    base = f"{endpoint}/{location.bucket}/resolve/{commit}"
    modified = _moment(str(model.get("lastModified") or ""))
    found = [
        _item(entry, base, commit, modified)
        for entry in model.get("siblings") or ()
        if chosen(entry["rfilename"])
    ]
    if not found:
        raise NothingFound(f"no model at {location.uri}: it has no files, or none that match")
    return found


def _model(
    location: Location, origin: WebOrigin, endpoint: str, env: Mapping[str, str]
) -> dict[str, Any]:
    import httpx

    revision = quote(location.revision, safe="")  # such as refs/pr/1
    url = f"{endpoint}/api/models/{location.bucket}/revision/{revision}"
    problem = ""
    for _ in range(ATTEMPTS_MAX):
        try:
            answer = origin.http.get(url, params={"blobs": "true"}, headers=headers_of(env))
            _check(answer, location, bool(env.get("HF_TOKEN")))
            document: dict[str, Any] = answer.json()
        except (httpx.HTTPError, Interrupted, ValueError) as error:
            problem = str(error) or type(error).__name__
        else:
            return document
    raise StorageError(f"{location.uri}: {endpoint} does not answer ({problem}): try again, or set "
                       "HF_ENDPOINT to a mirror")  # fmt: skip


def _check(answer: Any, location: Location, has_token: bool) -> None:
    code = answer.status_code
    if code == 200:
        return
    name = location.bucket
    if code in (401, 403):
        step = "see that its account was granted access" if has_token else (
            "attach a Secret with HF_TOKEN to the service account, and accept the model's terms"
        )  # fmt: skip
        raise StorageError(f"{location.uri}: the hub refuses access to {name} (HTTP {code}): it "
                           f"does not exist, is private or gated; {step}")  # fmt: skip
    if code == 404:
        raise NothingFound(f"{location.uri}: the hub has no {name} at revision "
                           f"{location.revision}: correct the name")  # fmt: skip
    raise Interrupted(f"HTTP {code}")


def _item(entry: dict[str, Any], base: str, commit: str, modified: float | None) -> Item:
    name = str(entry["rfilename"])
    large = entry.get("lfs") or {}
    digest = None
    if large.get("sha256"):
        digest = ("sha256", str(large["sha256"]))
    elif entry.get("blobId"):
        digest = ("git", str(entry["blobId"]))
    size = large.get("size", entry.get("size"))
    return Item(
        path=name,
        address=f"{base}/{quote(name)}",
        size=None if size is None else int(size),
        version=digest[1] if digest else commit,
        modified_s=modified,
        digest=digest,
    )


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
