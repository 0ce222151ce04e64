"""Images that podman has built here: MicroShift shares podman's storage, so its guides never push.

Where podman is installed it is asked for names that the store lacks, and each time for those that
came from it: an image that was built again under its name is taken again. It only answers for the
user that runs this process, as podman's storage is one per user.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from motorpool.base.atomicfile import write_atomically
from motorpool.images.errors import Cancelled, ImageError
from motorpool.images.manifest import Descriptor
from motorpool.images.reference import Reference

ANSWER_S = 20.0
POLL_S = 0.2
CHUNK_BYTES = 1 << 20


def image_id(name: Reference) -> str | None:
    """Podman's ID of *name*; None where it has none. A digest is of what a registry holds."""
    podman = shutil.which("podman")
    if podman is None or name.digest:
        return None
    command = [podman, "image", "inspect", "--format", "{{.Id}}", str(name)]
    try:
        answer = subprocess.run(
            command, capture_output=True, timeout=ANSWER_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode().strip() or None if answer.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Layout:
    """An image in an OCI layout, as `Pull` reads one from a registry."""

    reference: Reference
    directory: Path

    def manifest(self, version: str) -> tuple[bytes, str]:
        (found,) = json.loads((self.directory / "index.json").read_bytes())["manifests"]
        return self._path(found["digest"]).read_bytes(), found["mediaType"]

    def blob(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        with self._path(blob.digest).open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def _path(self, digest: str) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")


@contextmanager
def saved(name: Reference, ingest: Path, cancelled: Event) -> Iterator[Layout]:
    """What podman has under *name*, for so long as the context lasts. Raises ImageError."""
    with tempfile.TemporaryDirectory(prefix="podman-", dir=ingest) as made:
        directory = Path(made) / "image"
        command = ["podman", "save", "--quiet", "--format", "oci-dir", "-o", str(directory)]
        saving = subprocess.Popen(
            [*command, str(name)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            while True:
                try:
                    _, said = saving.communicate(timeout=POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    if cancelled.is_set():
                        raise Cancelled from None
        finally:
            if saving.poll() is None:
                saving.kill()
                saving.wait()
        if saving.returncode != 0:
            why = said.decode(errors="replace").strip().splitlines()[-1:]
            raise ImageError(f"podman has {name} and cannot give it: {''.join(why)}")
        yield Layout(name, directory)


class Borrowed:
    """Which references came from podman, and what they were there: `podman.json`."""

    def __init__(self, root: Path) -> None:
        self._path = root / "podman.json"

    def id_of(self, reference: str, digest: str | None) -> str | None:
        """Podman's ID of what stands here as *digest*; None where it came another way."""
        entry = self._entries().get(reference, {})
        return entry.get("id") if digest is not None and entry.get("digest") == digest else None

    def note(self, reference: str, digest: str, podman_id: str) -> None:
        entry = {"digest": digest, "id": podman_id}
        text = json.dumps({**self._entries(), reference: entry}, indent=1, sort_keys=True)
        write_atomically(self._path, text.encode())

    def _entries(self) -> dict[str, dict[str, str]]:
        try:
            entries: dict[str, dict[str, str]] = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return entries
