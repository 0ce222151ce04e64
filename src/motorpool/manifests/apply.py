"""Applies the directories once, at the start of the platform.

Rules: one after the other; a directory that fails is tried again every ten seconds for ten minutes
and then left, and the next one has its turn. Objects are applied as kubectl's server-side apply
with force does it: what is in the files wins over what was edited. Nothing is pruned, and no file
is looked at again before the next start. How it goes is told by events on the Node, and in
``run/manifests.json`` for `motorpool manifests ls`.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import structlog

from motorpool.api.errors import ApiError, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, name_of
from motorpool.api.yamlbody import load_all
from motorpool.base.atomicfile import write_atomically
from motorpool.base.clock import Clock, rfc3339
from motorpool.client import Client
from motorpool.loop.events import EventRecorder
from motorpool.manifests.kustomize.build import NODES_MAX, build
from motorpool.manifests.kustomize.kustomization import Unsupported
from motorpool.manifests.kustomize.resource import KustomizeError
from motorpool.manifests.search import to_apply, to_delete

log = structlog.get_logger(__name__)

FIELD_MANAGER = "kubectl"
RETRY_S = 10.0
GIVE_UP_S = 600.0
BUILD_TIMEOUT_S = 120.0
KIND_WAIT_S = 5.0
KIND_POLL_S = 0.05
ERRORS_SHOWN_MAX = 3
COMPONENT = "motorpool-manifests"


@dataclass(slots=True)
class Progress:
    """How it goes with one directory."""

    path: str
    action: Literal["apply", "delete"]
    state: Literal["waiting", "done", "failing", "given up"] = "waiting"
    objects: int = 0
    error: str = ""
    at: str = ""


class ManifestsFailed(Exception):
    """Some objects of a directory could not be applied."""


class Manifests:
    """*node* is what events are on; *record* the file for the progress."""

    def __init__(
        self,
        client: Client,
        kinds: Iterable[Kind],
        events: EventRecorder,
        clock: Clock,
        *,
        entries: Sequence[str],
        node: Object,
        record: Path,
    ) -> None:
        self._client = client
        self._kinds = kinds
        self._events = events
        self._clock = clock
        self._entries = entries
        self._node = node
        self._record = record
        self.progress: list[Progress] = []

    async def run(self) -> None:
        """Until everything has had its turn."""
        deletes = await asyncio.to_thread(to_delete, self._entries)
        applies = await asyncio.to_thread(to_apply, self._entries)
        self.progress = [
            *(Progress(str(path), "delete") for path in deletes),
            *(Progress(str(path), "apply") for path in applies),
        ]
        self._write()
        for progress in self.progress:
            await self._until_done(progress)

    async def _until_done(self, progress: Progress) -> None:
        act = self._delete if progress.action == "delete" else self._apply
        end = asyncio.get_running_loop().time() + GIVE_UP_S
        while True:
            try:
                objects = await asyncio.to_thread(built, Path(progress.path))
                progress.objects = len(objects)
                await self._each(objects, act)
            except (ManifestsFailed, KustomizeError, OSError) as error:
                over = asyncio.get_running_loop().time() + RETRY_S > end
                self._failed(progress, str(error), over=over)
                if over:
                    return
                await asyncio.sleep(RETRY_S)
                continue
            done = "Deleted" if progress.action == "delete" else "Applied"
            message = f"{done} {len(objects)} objects of {progress.path}"
            self._note(progress, "done")
            self._tell("Normal", f"Manifests{done}", message)
            return

    def _failed(self, progress: Progress, error: str, *, over: bool) -> None:
        """Told when it begins, when it changes, and when it is given up."""
        same = progress.error == error
        self._note(progress, "given up" if over else "failing", error)
        what = f"{progress.path}: {error}"
        if over:
            what += "; given up. Mend it, then start `motorpool up` again"
        elif same:
            return
        else:
            what += f"; tried again every {RETRY_S:g} s for {GIVE_UP_S / 60:g} minutes"
        self._tell("Warning", "ManifestsFailed", what)

    async def _each(self, objects: list[Object], act: Callable[[Object], Awaitable[None]]) -> None:
        """All of them, even where one fails. Raises ManifestsFailed."""
        errors = []
        for obj in objects:
            try:
                await act(obj)
            except (ApiError, LookupError) as error:
                errors.append(f"{obj['kind']} {name_of(obj)}: {error}")
        if errors:
            more = len(errors) - ERRORS_SHOWN_MAX
            shown = "; ".join(errors[:ERRORS_SHOWN_MAX])
            raise ManifestsFailed(shown + (f"; and {more} more" if more > 0 else ""))

    async def _apply(self, obj: Object) -> None:
        kind = await self._kind_soon(obj)
        await self._client.apply(kind, _placed(obj, kind), manager=FIELD_MANAGER)

    async def _delete(self, obj: Object) -> None:
        kind = self._kind(obj)
        if kind is None:
            return  # Without its kind there is none of them.
        placed = _placed(obj, kind)
        try:
            await self._client.delete(kind, placed["metadata"].get("namespace", ""), name_of(obj))
        except NotFound:
            return

    def _kind(self, obj: Object) -> Kind | None:
        wanted = (obj["apiVersion"], obj["kind"])
        return next((k for k in self._kinds if (k.api_version, k.kind) == wanted), None)

    async def _kind_soon(self, obj: Object) -> Kind:
        """Its definition may have been applied a moment ago. Raises LookupError."""
        end = asyncio.get_running_loop().time() + KIND_WAIT_S
        while True:
            kind = self._kind(obj)
            if kind is not None:
                return kind
            if asyncio.get_running_loop().time() > end:
                raise LookupError(
                    f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"; apply '
                    "its CustomResourceDefinition first"
                )
            await asyncio.sleep(KIND_POLL_S)

    def _note(
        self, progress: Progress, state: Literal["done", "failing", "given up"], error: str = ""
    ) -> None:
        progress.state, progress.error, progress.at = state, error, rfc3339(self._clock())
        log.info("manifests", path=progress.path, state=state, error=error)
        self._write()

    def _write(self) -> None:
        content = json.dumps([asdict(each) for each in self.progress], indent=1)
        write_atomically(self._record, content.encode(), sync=False)

    def _tell(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._events.record(self._node, type_, reason, message, component=COMPONENT)


def _placed(obj: Object, kind: Kind) -> Object:
    """*obj* with a namespace where its kind has them, and without where it has not."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "namespace"}
    if kind.namespaced:
        metadata["namespace"] = obj["metadata"].get("namespace") or "default"
    return {**obj, "metadata": metadata}


def built(directory: Path) -> list[Object]:
    """The objects of a kustomization: built here, or by kustomize where only that can.

    Raises KustomizeError, OSError.
    """
    try:
        return build(directory)
    except Unsupported as error:
        command = _foreign(directory)
        if command is None:
            raise KustomizeError(
                f"{error}; install kustomize or kubectl, and they will build it"
            ) from error
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise KustomizeError(str(error)) from error
    if done.returncode:
        raise KustomizeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    documents = load_all(done.stdout, nodes_max=NODES_MAX)
    return [document for document in documents if document is not None]


def _foreign(directory: Path) -> list[str] | None:
    if kustomize := shutil.which("kustomize"):
        return [kustomize, "build", str(directory)]
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize", str(directory)]
    return None
