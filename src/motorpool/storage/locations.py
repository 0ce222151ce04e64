"""Which store a model's address names. Pure.

Rule: an address that nothing here can fetch is refused by its scheme, with what would do instead.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from motorpool.storage.errors import StorageError

_AZURE_BLOB = re.compile(r"^(?P<account>[^./]+)\.blob\.(core\.windows\.net|[^/]*azure[^/]*)$")
_AZURE_FILE = re.compile(r"^[^./]+\.file\.core\.windows\.net$")
_NOT_SUPPORTED = {
    "hdfs": "copy the model to s3://, or mount it with pvc://",
    "webhdfs": "copy the model to s3://, or mount it with pvc://",
    "modelscope": "use hf://OWNER/MODEL or s3://",
    "pvc": "the controller mounts claims; use pvc:// as a storageUri, not here",
    "oci": "the controller mounts images; use oci:// as a storageUri, not here",
    "oci+native": "the controller mounts images; use oci:// as a storageUri, not here",
    "git": "pack the files as a ModelCar and use oci://",
}
FETCHED = ("s3://", "gs://", "https://", "http://", "hf://", "file://")


@dataclass(frozen=True, slots=True)
class Location:
    """*kind* is one of s3, gs, azure, web, hub, path."""

    uri: str
    kind: str
    bucket: str = ""  # the container, for Azure; owner/model for a hub
    path: str = ""
    account: str = ""  # Azure's
    revision: str = ""  # a hub's


def parse(uri: str) -> Location:
    """Raises StorageError."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Location(uri, "path", path=uri)
    scheme = scheme.lower()
    if scheme in ("s3", "gs"):
        bucket, _, path = rest.partition("/")
        if not bucket:
            raise StorageError(f"{uri} names no bucket: write {scheme}://BUCKET/PATH")
        return Location(uri, scheme, bucket, path.strip("/"))
    if scheme == "file":
        return Location(uri, "path", path=unquote(urlsplit(uri).path))
    if scheme == "hf":
        return _hub(uri, rest)
    if scheme in ("http", "https"):
        return _web(uri)
    instead = _NOT_SUPPORTED.get(scheme, f"use one of {' '.join(FETCHED)}")
    raise StorageError(f"{uri} is not supported: {instead}")


def _hub(uri: str, rest: str) -> Location:
    name, _, revision = rest.strip("/").partition(":")
    if name.count("/") != 1 or not all(name.split("/")):
        raise StorageError(f"{uri} names no model: write hf://OWNER/MODEL or hf://OWNER/MODEL:REV")
    return Location(uri, "hub", bucket=name, revision=revision or "main")


def _web(uri: str) -> Location:
    parts = urlsplit(uri)
    host = parts.hostname or ""
    if not host:
        raise StorageError(f"{uri} names no host: correct it")
    azure = _AZURE_BLOB.match(host)
    if azure and not parts.query:  # with a query it is signed, and any web client may read it
        container, _, path = parts.path.strip("/").partition("/")
        if not container:
            raise StorageError(f"{uri} names no container: add it to the path")
        return Location(uri, "azure", container, unquote(path), account=azure["account"])
    if _AZURE_FILE.match(host):
        raise StorageError(f"{uri}: Azure file shares are not supported: use blob storage")
    if parts.path.endswith(".git"):
        raise StorageError(f"{uri} is not supported: {_NOT_SUPPORTED['git']}")
    if parts.path.endswith("/") or not parts.path:
        raise StorageError(f"{uri} names no file: name a file or an archive")
    return Location(uri, "web", path=unquote(parts.path.rpartition("/")[2]))
