"""A model's address and a directory: makes the directory hold the model.

Doing it again moves nothing that is there. A single archive is unpacked and removed; from an object
store or the web alike.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from motorpool.storage import archives, hub, settings
from motorpool.storage.errors import StorageError
from motorpool.storage.locations import Location, parse
from motorpool.storage.objects import ObjectOrigin
from motorpool.storage.paths import PathOrigin
from motorpool.storage.transfer import FreeBytes, Item, Origin, Progress, download
from motorpool.storage.web import WebOrigin, file_name


def fetch(
    uri: str,
    destination: Path,
    env: Mapping[str, str],
    progress: Progress,
    *,
    free_bytes: FreeBytes | None = None,
) -> None:
    """Raises StorageError."""
    location = parse(uri)
    if location.kind == "path" and Path(location.path).resolve() == destination.resolve():
        return
    try:
        destination.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{destination}: {error.strerror}: name another directory") from error
    _Fetch(location, destination, env, progress, free_bytes).run()


def trust(env: Mapping[str, str]) -> None:
    """Lets this process's object stores trust the CA bundle of *env* beside the system's.

    They read certificates from where SSL_CERT_FILE points, and from one file only.
    """
    import ssl

    file = settings.ca_file(env)
    if not file:
        return
    try:
        own = Path(file).read_bytes()
    except OSError as error:
        raise StorageError(f"the CA bundle {file} cannot be read ({error.strerror}): correct the "
                           "ConfigMap that it comes from") from error  # fmt: skip
    system = env.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or ""
    known = Path(system).read_bytes() if system and Path(system).is_file() else b""
    with tempfile.NamedTemporaryFile(suffix=".crt", delete=False) as file_of_both:
        file_of_both.write(known + b"\n" + own)
    os.environ["SSL_CERT_FILE"] = file_of_both.name


class _Fetch:
    def __init__(
        self,
        location: Location,
        destination: Path,
        env: Mapping[str, str],
        progress: Progress,
        free_bytes: FreeBytes | None,
    ) -> None:
        self._location = location
        self._destination = destination
        self._env = env
        self._progress = progress
        self._free_bytes = free_bytes
        self._chosen = settings.chosen_by(env)

    def run(self) -> None:
        kind = self._location.kind
        if kind == "web":
            self._web()
        elif kind == "hub":
            with WebOrigin(self._env, hub.headers_of(self._env)) as web:
                self._download(hub.items(self._location, web, self._env, self._chosen), web)
        elif kind == "path":
            local = PathOrigin()
            self._download(local.items(self._location.path, self._chosen), local)
        else:
            store = ObjectOrigin(self._location, self._env)
            items = store.items(self._chosen)
            self._download(items, store)
            self._unpack_single(items)

    def _web(self) -> None:
        from urllib.parse import urlsplit

        host = urlsplit(self._location.uri).hostname or ""
        with WebOrigin(self._env, settings.headers_for(self._env, host)) as web:
            item, content_type = web.probe(self._location)
            name = file_name(item, content_type)
            if content_type == "text/html" and not name.endswith((".html", ".htm")):
                raise StorageError(
                    f"{self._location.uri} answers with a web page, not with a model: correct the "
                    "address, or give request headers in a Secret with https-host and headers"
                )
            item = Item(name, item.address, item.size, item.version, item.modified_s, item.digest)
            self._download([item], web)
        self._unpack_single([item])

    def _download(self, items: list[Item], origin: Origin) -> None:
        download(
            items,
            origin,
            self._destination,
            workers=settings.concurrency(self._env, self._location.kind),
            progress=self._progress,
            free_bytes=self._free_bytes,
        )

    def _unpack_single(self, items: list[Item]) -> None:
        if len(items) != 1 or not archives.is_archive(items[0].path):
            return
        archive = self._destination / items[0].path
        try:
            archives.unpack(archive, self._destination, self._location.uri)
        except OSError as error:
            raise StorageError(
                f"{self._location.uri} cannot be unpacked into {self._destination} "
                f"({error.strerror}): make room there, or give the volume a larger disk"
            ) from error
        finally:
            archive.unlink(missing_ok=True)
