"""Which store a model's address names. Pure.

Rule: an address that nothing here can fetch is refused by its scheme, with what would do instead.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from motorpool.storage.errors import StorageError

_AZURE = r"^(?P<account>[^./]+)\.(z\d{1,2}\.)?%s\.(core\.windows\.net|[^/]*azure[^/]*)$"
_AZURE_BLOB, _AZURE_FILE = re.compile(_AZURE % "blob"), re.compile(_AZURE % "file")
_NOT_SUPPORTED = {
    "hdfs": "copy the model to s3://, or mount it with pvc://",
    "webhdfs": "copy the model to s3://, or mount it with pvc://",
    "modelscope": "use hf://OWNER/MODEL or s3://",
    "pvc": "the controller mounts claims; use pvc:// as a storageUri, not here",
    "oci": "the controller mounts images; use oci:// as a storageUri, not here",
    "oci+native": "the controller mounts images; use oci:// as a storageUri, not here",
    "oci+fetch": "the controller mounts images; use oci:// as a storageUri, not here",
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
    endpoint: str = ""  # Azure's, where it is not the public cloud's
    signature: str = field(default="", repr=False)  # Azure's: what signs the address, a secret
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
    if azure and (not parts.query or _may_list(parts.query)):
        bare, _, signature = uri.partition("?")
        container, _, path = parts.path.strip("/").partition("/")
        if not container:
            raise StorageError(f"{bare} names no container: add it to the path")
        public = f"https://{azure['account']}.blob.core.windows.net"
        endpoint = f"{parts.scheme}://{parts.netloc}"
        return Location(
            bare,
            "azure",
            container,
            unquote(path),
            account=azure["account"],
            endpoint="" if endpoint == public else endpoint,
            signature=signature,
        )
    if _AZURE_FILE.match(host):
        raise StorageError(f"{uri}: Azure file shares are not supported: use blob storage")
    if parts.path.endswith(".git"):
        raise StorageError(f"{uri} is not supported: {_NOT_SUPPORTED['git']}")
    if parts.path.endswith("/") or not parts.path:
        raise StorageError(f"{uri} names no file: name a file or an archive")
    return Location(uri, "web", path=unquote(parts.path.rpartition("/")[2]))


def _may_list(query: str) -> bool:
    """Whether Azure's signature covers a container or a directory, and not a single blob.

    What is signed for one blob any web client may read, and it may read nothing else.
    """
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    covers = fields.get("sr") in ("c", "d") or "c" in fields.get("srt", "")
    return "sig" in fields and covers and "l" in fields.get("sp", "")
