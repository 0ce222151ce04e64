"""Object stores: S3, Google Cloud Storage, Azure Blob, through obstore.

A path is an object or everything below it as a directory: `models/res` is not the beginning of
`models/resnet`. An object's e-tag is its version; where it is an MD5 (S3, one part, no KMS) it is
also its checksum. That of an encrypted object looks the same and is none, and lists do not tell: so
whoever finds another MD5 asks the object how it is kept.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from motorpool.storage import settings
from motorpool.storage.errors import Interrupted, NothingFound, StorageError
from motorpool.storage.locations import Location
from motorpool.storage.transfer import FromStart, Item
from motorpool.storage.web import verification

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Store

CHUNK = 4 << 20
RETRIES = {"max_retries": 3}
HEAD_TIMEOUT_S = 10.0
TIMEOUTS = {"connect_timeout": "5s", "timeout": "1h"}
_MD5 = re.compile(r"^[0-9a-f]{32}$")
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_DURATION = re.compile(r" in [0-9.]+(ns|µs|ms|s)\b")
_REFUSALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "InvalidToken",
             "ExpiredToken", "PublicAccessNotPermitted", "InvalidAuthenticationInfo")  # fmt: skip
"""What stores say with another status than 401 or 403, too."""


class ObjectOrigin:
    def __init__(self, location: Location, env: Mapping[str, str]) -> None:
        self._location = location
        self._settings = _settings_of(location, env)
        self._store = _store(location, self._settings)
        self._env = env

    def items(self, chosen: Callable[[str], bool]) -> list[Item]:
        """Raises StorageError."""
        import obstore

        location = self._location
        with _Explained(location, self._settings):
            found = [self._item(meta) for page in obstore.list(self._store, location.path or None)
                     for meta in page]  # fmt: skip
            if not found and location.path:
                meta = obstore.head(self._store, location.path)
                found = [self._item(meta, location.path.rpartition("/")[2])]
        directories = {str(p) for item in found for p in PurePosixPath(item.path).parents}
        # Consoles and file systems on top of stores keep an empty object for each directory.
        files = [item for item in found if item.size or item.path not in directories]
        wanted = [item for item in files if item.path and chosen(item.path)]
        if not wanted:
            where = "matches the patterns" if found else "is there"
            raise NothingFound(f"no model at {location.uri}: nothing {where}; correct the path")
        return wanted

    def read(self, item: Item, offset: int) -> Iterator[memoryview]:
        import obstore
        from obstore.exceptions import (
            BaseError,
            PermissionDeniedError,
            PreconditionError,
            UnauthenticatedError,
        )

        options: dict[str, Any] = {}
        if offset:
            options["range"] = {"offset": offset}
        if item.version:
            options["if_match"] = item.version
        try:
            result = obstore.get(self._store, item.address, options=options)  # type: ignore[arg-type]
            for block in result.stream(min_chunk_size=CHUNK):
                yield memoryview(block)
        except PreconditionError as error:
            raise FromStart from error
        except FileNotFoundError as error:
            raise NothingFound(
                f"{item.address} went away while the model was read: upload it anew"
            ) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise _Explained(self._location, self._settings).of(error) from error
        except BaseError as error:
            raise Interrupted(first_line(error)) from error

    def _item(self, meta: Any, name: str = "") -> Item:
        tag = str(meta.get("e_tag") or "")
        bare = tag.strip('"')
        is_md5 = self._location.kind == "s3" and _MD5.match(bare)
        return Item(
            path=name or meta["path"].removeprefix(self._location.path).strip("/"),
            address=meta["path"],
            size=meta["size"],
            version=tag,
            modified_s=meta["last_modified"].timestamp(),
            digest=("md5", bare) if is_md5 else None,
            is_other=partial(self._is_encrypted, meta["path"]) if is_md5 else None,
        )

    def _is_encrypted(self, path: str) -> bool:
        """By a key of the user's or of KMS. obstore hides the header, but signs requests."""
        import httpx
        import obstore
        from obstore.exceptions import BaseError

        if self._settings.anonymous:
            return False  # what strangers may read is not
        try:
            store = cast("S3Store", self._store)
            url = obstore.sign(store, "HEAD", path, timedelta(minutes=1))
            answer = httpx.head(url, verify=verification(self._env), timeout=HEAD_TIMEOUT_S)
            answer.raise_for_status()
        except (BaseError, httpx.HTTPError):
            return False
        kept = answer.headers.get("x-amz-server-side-encryption", "")
        by_user = "x-amz-server-side-encryption-customer-algorithm" in answer.headers
        return kept.startswith("aws:kms") or by_user


def first_line(error: BaseException) -> str:
    """Without how long it took: the same failure has the same text each time."""
    text = str(error).strip().splitlines()
    return _DURATION.sub("", text[0])[:300] if text else type(error).__name__


def _settings_of(location: Location, env: Mapping[str, str]) -> settings.StoreSettings:
    if location.kind == "s3":
        return settings.s3(env)
    if location.kind == "gs":
        return settings.gcs(env)
    return settings.azure(env, location.account, location.endpoint, location.signature)


def _store(location: Location, found: settings.StoreSettings) -> "ObjectStore":
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    make: Any = {"s3": S3Store, "gs": GCSStore, "azure": AzureStore}[location.kind]
    try:
        store: ObjectStore = make(
            location.bucket,
            config=found.config,
            client_options={**TIMEOUTS, **found.client},
            retry_config=RETRIES,
        )
    except (BaseError, ValueError) as error:
        raise StorageError(
            f"{location.uri}: the credentials cannot be used ({first_line(error)}): correct the "
            "Secret that they come from"
        ) from error
    return store


class _Explained:
    """Turns what a store answers into what its user can do."""

    def __init__(self, location: Location, found: settings.StoreSettings) -> None:
        self._location = location
        self._settings = found

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from obstore.exceptions import BaseError

        if isinstance(error, BaseError | FileNotFoundError):
            raise self.of(error) from error

    def of(self, error: Exception) -> StorageError:
        from obstore.exceptions import NotFoundError, PermissionDeniedError, UnauthenticatedError

        uri, text = self._location.uri, str(error)
        word = "container" if self._location.kind == "azure" else "bucket"
        bucket = f"{word} {self._location.bucket}"
        status, code = (found[1] if found else "" for found in
                        (_STATUS.search(text), _CODE.search(text)))  # fmt: skip
        if code in ("NoSuchBucket", "ContainerNotFound"):
            return NothingFound(f"{uri}: {bucket} does not exist: create it, or correct it")
        if code in ("InvalidBucketName", "InvalidResourceName", "OutOfRangeInput"):
            return StorageError(f"{uri}: the store knows no such name as {bucket} ({code}): "
                                "correct it")  # fmt: skip
        if "performing token request" in text:
            return StorageError(f"{uri}: these credentials give no token ({first_line(error)}): "
                                "correct the Secret")  # fmt: skip
        refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
        # Azure does not say to strangers whether what they may not see exists.
        hidden = self._settings.anonymous and code == "ResourceNotFound"
        if refused or status in ("401", "403") or code in _REFUSALS or hidden:
            because = f" ({code})" if code else ""
            if self._settings.anonymous:
                return StorageError(
                    f"{uri}: the store refuses to answer without credentials{because}: attach a "
                    "Secret with them to the service account, or name one in storage.key"
                )
            return StorageError(
                f"{uri}: the store refuses these credentials{because}: correct the Secret, and "
                f"see that they may list and read {bucket}"
            )
        if isinstance(error, NotFoundError | FileNotFoundError):
            return NothingFound(f"no model at {uri}: nothing is there; correct the path")
        where = self._settings.config.get("endpoint") or "its endpoint"
        step = "correct the endpoint, or try again"
        if str(where).startswith("https://"):
            step = f"give its CA bundle where its certificate is not a public one, or {step}"
        return StorageError(
            f"{uri}: {where} does not answer as a store does ({first_line(error)}): {step}"
        )
