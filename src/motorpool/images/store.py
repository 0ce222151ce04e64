"""`ImageStore`: what the node agent and the command line ask for.

Rules:
  1. The event loop never waits for a disk or a registry: every verb runs in a thread, and what
     comes back to the loop (progress) comes through `call_soon_threadsafe`.
  2. Several who want one reference share the work. It goes on until the last of them is cancelled.
  3. An image that is here costs two small reads.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from motorpool.images import podman
from motorpool.images.build import Build
from motorpool.images.cancellation import Cancellation
from motorpool.images.collection import Collected, Stored, chosen
from motorpool.images.content import Content
from motorpool.images.errors import NEVER_PULL, PULL, Cancelled, ImageError
from motorpool.images.layer import Limits
from motorpool.images.manifest import Manifest, diff_ids
from motorpool.images.progress import Counter, Progress, ProgressTo
from motorpool.images.pull import Pull, Source, architecture
from motorpool.images.push import Push
from motorpool.images.reference import Reference, parse
from motorpool.images.registry import Registry
from motorpool.images.sharing import Sharing

Policy: TypeAlias = Literal["Always", "IfNotPresent", "Never"]
PARALLEL_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Tree:
    path: Path  # read-only; holds `models/...`
    digest: str  # of the manifest
    reference: str  # in full: host, repository and tag or digest


@dataclass(frozen=True, slots=True)
class Image:
    """One line of `ls`."""

    reference: str
    digest: str
    size_bytes: int  # unpacked, as it lies on the disk
    owners: list[str]  # who uses its tree


class ImageStore:
    """Blocking verbs for the command line; `ensure` for the node agent, from one event loop."""

    def __init__(self, root: Path, *, limits: Limits | None = None) -> None:
        self.content = Content(root)
        self._borrowed = podman.Borrowed(root)
        self._limits = limits or Limits()
        self._sharing: Sharing[Tree] = Sharing(PARALLEL_IMAGES)

    # For the node agent.

    async def ensure(
        self,
        reference: str,
        policy: Policy,
        *,
        owner: str | None = None,
        progress: ProgressTo | None = None,
    ) -> Tree:
        """The unpacked tree of *reference*, pulled first where *policy* says so.

        *owner* (a pod's uid, say) gets a lease: until `release`, `rm` refuses to remove the tree.
        """
        name = parse(reference)
        tree = await asyncio.to_thread(self._ready, name) if policy != "Always" else None
        if tree is None:

            def work(tell: ProgressTo, cancelled: Cancellation) -> Tree:
                return self.ensure_now(name, policy, tell, cancelled)

            tree = await self._sharing.run(f"{policy} {name}", work, progress)
        if owner is not None:
            await asyncio.to_thread(self._lease, tree, owner)
        return tree

    def close(self) -> None:
        """Stops all that runs; for the end of the process."""
        self._sharing.close()

    def release(self, digest: str, owner: str) -> None:
        """*owner* no longer uses the tree of *digest*."""
        self.content.release(digest, owner)

    def is_here(self, reference: str) -> bool:
        """Whether an image of that name is in the store."""
        return self._local(parse(reference)) is not None

    def age(self) -> int:
        """Another one whenever a name was given or taken away, by this process or another."""
        return self.content.index_age()

    def owners(self) -> dict[str, list[str]]:
        """Digest -> who holds a lease on its tree, from earlier lives of the node agent too."""
        return self.content.owners()

    def _lease(self, tree: Tree, owner: str) -> None:
        with self.content.lock("content", Cancellation(), shared=True):
            self.content.hold(tree.digest, owner)
            if not tree.path.exists():
                self.content.release(tree.digest, owner)
                raise ImageError(f"{tree.reference} was removed while it was asked for; try again")

    def ensure_now(
        self,
        name: Reference,
        policy: Policy,
        progress: ProgressTo | None = None,
        cancelled: Cancellation | None = None,
    ) -> Tree:
        """`ensure`, in the calling thread."""
        cancelled = cancelled or Cancellation()
        local = self._local(name)
        fresh = self._from_podman(name, local, cancelled) if policy != "Always" else None
        if fresh is not None:
            return fresh
        if local is not None and policy != "Always":
            path = self.content.tree_path(local)
            if path.exists() or self._make_tree(name, local, cancelled):
                return Tree(path, local, str(name))
        if policy == "Never":
            raise ImageError(
                f"{name} is not on this machine and its imagePullPolicy is Never; "
                f"`motorpool modelcar pull {name}` brings it here",
                reason=NEVER_PULL,
            )
        try:
            return self.pull(name, progress, cancelled)
        except ImageError as error:
            if local is None and name.registry == "localhost":
                raise ImageError(f"{name} is not on this machine; {_way_to_have(name)}") from error
            if local is None or error.reason != PULL:
                raise
            raise ImageError(
                f"{error} (the local image is ignored, because the imagePullPolicy is Always, "
                "as it is for every image tagged latest; another tag is taken from this machine)"
            ) from error

    def _make_tree(self, name: Reference, digest: str, cancelled: Cancellation) -> bool:
        """False where parts of the image are missing, removed by hand or lost with a disk."""
        with self._explained(name), self.content.adding(cancelled):
            manifest = self.content.manifest(digest)
            if any(self.content.layer(layer) is None for layer in manifest.layers):
                return False
            self.content.add_tree(manifest, self._limits, cancelled)
            return True

    # For the command line.

    def pull(
        self,
        name: Reference,
        progress: ProgressTo | None = None,
        cancelled: Cancellation | None = None,
    ) -> Tree:
        """Takes *name* from its registry, and unpacks it."""
        cancelled = cancelled or Cancellation()
        with self._explained(name):
            registry = Registry(name, cancelled)
            try:
                with self.content.adding(cancelled):
                    return self._take(name, registry, progress, cancelled)
            except ImageError:
                self._sweep_after_refusal()
                raise
            finally:
                registry.close()

    def _take(
        self, name: Reference, source: Source, progress: ProgressTo | None, cancelled: Cancellation
    ) -> Tree:
        pull = Pull(self.content, source, self._limits, cancelled=cancelled)
        manifest = pull.resolve()
        with Counter(name, manifest, progress) as counter:
            pull.advance = counter.advance
            pull.fetch(manifest)
        path = self.content.add_tree(manifest, self._limits, cancelled)
        self.content.name(str(name), manifest.digest)
        return Tree(path, manifest.digest, str(name))

    def _from_podman(
        self, name: Reference, local: str | None, cancelled: Cancellation
    ) -> Tree | None:
        """What podman has under *name*, where it is missing here or older; None: nothing newer."""
        known = self._borrowed.id_of(str(name), local)
        if local is not None and known is None:
            return None
        found = podman.image_id(name)
        if found is None or found == known:
            return None
        with self._explained(name), self.content.adding(cancelled):
            with podman.saved(name, self.content.ingest, cancelled) as layout:
                tree = self._take(name, layout, None, cancelled)
            self._borrowed.note(str(name), tree.digest, found)
            return tree

    def push(
        self,
        name: Reference,
        progress: ProgressTo | None = None,
        cancelled: Cancellation | None = None,
    ) -> str:
        """Sends *name* to its registry; the digest that it has there."""
        cancelled = cancelled or Cancellation()
        manifest = self._stored(name)
        with self._explained(name), self.content.adding(cancelled):
            registry = Registry(name, cancelled)
            try:
                with Counter(name, manifest, progress) as counter:
                    push = Push(self.content, registry, counter.advance, cancelled)
                    digest = push.run(manifest).digest
                self.content.note_made(manifest.digest, False)
                return digest
            finally:
                registry.close()

    def build(
        self,
        directory: Path,
        name: Reference,
        progress: ProgressTo | None = None,
        cancelled: Cancellation | None = None,
    ) -> str:
        """Packs *directory* as *name*; the digest."""
        cancelled = cancelled or Cancellation()
        if name.digest:
            raise ImageError(f"{name}: what is built gets its digest then; give a tag")
        try:
            epoch_s = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
        except ValueError as error:
            raise ImageError("SOURCE_DATE_EPOCH is not a number of seconds; unset it") from error
        with self._explained(name), self.content.adding(cancelled):
            with Counter(name, None, progress) as counter:
                build = Build(
                    self.content,
                    architecture(),
                    epoch_s,
                    counter.advance,
                    counter.expect,
                    cancelled,
                )
                manifest = build.run(directory)
            self.content.add_tree(manifest, self._limits, cancelled)
            self.content.note_made(manifest.digest, True)
            self.content.name(str(name), manifest.digest)
            return manifest.digest

    def images(self) -> list[Image]:
        """Every reference, sorted by name."""
        owners = self.content.owners()
        return [
            Image(name, digest, self._size(self.content.manifest(digest)), owners.get(digest, []))
            for name, digest in sorted(self.content.references().items())
            if self.content.has_blob(digest)
        ]

    def inspect(self, name: Reference) -> dict[str, object]:
        """What is known of one image, as JSON."""
        manifest = self._stored(name)
        config = self.content.blob(manifest.config.digest)
        tree = self.content.tree_path(manifest.digest)
        return {
            "reference": str(name),
            "digest": manifest.digest,
            "mediaType": manifest.media_type,
            "imageID": manifest.config.digest,
            "sizeBytes": self._size(manifest),
            "layers": [layer.document() for layer in manifest.layers],
            "diffIDs": diff_ids(config),
            "tree": str(tree) if tree.exists() else None,
            "usedBy": self.content.owners().get(manifest.digest, []),
        }

    def remove(self, name: Reference) -> int:
        """Forgets *name*; the bytes that nothing else needed. Refuses what is in use."""
        self.content.prepare()
        manifest = self._stored(name)
        references = self.content.references()
        owners = self.content.owners().get(manifest.digest, [])
        if owners and list(references.values()).count(manifest.digest) == 1:
            raise ImageError(
                f"{name} is used by {', '.join(owners)}; delete what serves it first "
                "(`kubectl get inferenceservices -A`)"
            )
        self.content.name(str(name), None)
        # While something is pulled nothing is freed: whoever comes next sweeps.
        return self.content.sweep() or 0

    def collect(self, wanted_bytes: int, now: float) -> Collected:
        """Removes images that nothing uses, until so much is free or none is left that may go."""
        self.content.prepare()
        names: dict[str, list[str]] = {}
        for name, digest in self.content.references().items():
            names.setdefault(digest, []).append(name)
        owners = self.content.owners()
        going = chosen((self._described(one, owners) for one in names), wanted_bytes, now)
        gone = sorted(name for image in going for name in names[image.digest])
        for name in gone:
            self.content.name(name, None)
        # Who took a lease meanwhile keeps the tree, and the name comes back with the next pull.
        return Collected(gone, self.content.sweep() or 0)

    def _described(self, digest: str, owners: Mapping[str, Sequence[str]]) -> Stored:
        try:
            layers = self.content.manifest(digest).layers
            used_at = self.content.used_at(digest)
        except FileNotFoundError:
            return Stored(digest, 0.0, {})  # Only its name is left.
        records = {layer.digest: self.content.layer(layer) for layer in layers}
        return Stored(
            digest,
            used_at,
            {name: record.unpacked_bytes for name, record in records.items() if record},
            is_used=bool(owners.get(digest)),
            is_only_here=self.content.is_made(digest),
        )

    def _ready(self, name: Reference) -> Tree | None:
        """What needs no work. Not in `_threads`, where slow pulls may be before it."""
        digest = self._local(name)
        path = self.content.tree_path(digest) if digest else None
        if self._borrowed.id_of(str(name), digest) is not None:
            return None  # Podman is asked first.
        return Tree(path, digest, str(name)) if digest and path and path.exists() else None

    def _local(self, name: Reference) -> str | None:
        references = self.content.references()
        found = references.get(str(name))
        if found is None and name.digest in references.values():
            # The same repository's image, known here by a tag.
            prefix = f"{name.registry}/{name.repository}:"
            if any(one.startswith(prefix) and references[one] == name.digest for one in references):
                found = name.digest
        return found if found and self.content.has_blob(found) else None

    def _stored(self, name: Reference) -> Manifest:
        digest = self._local(name)
        if digest is None:
            raise ImageError(
                f"{name} is not on this machine; `motorpool modelcar ls` lists what is"
            )
        return self.content.manifest(digest)

    def _size(self, manifest: Manifest) -> int:
        distinct = {layer.digest: self.content.layer(layer) for layer in manifest.layers}
        return sum(record.unpacked_bytes for record in distinct.values() if record)

    def _sweep_after_refusal(self) -> None:
        """Layers of an image that was refused are of no use to anyone."""
        self.content.sweep()

    @contextmanager
    def _explained(self, name: Reference) -> Iterator[None]:
        """A full disk or a forbidden directory is the user's to mend: say so."""
        try:
            yield
        except OSError as error:
            raise ImageError(
                f"cannot store {name} in {self.content.root}: {error.strerror or error}; "
                "make room there or choose another --data-dir"
            ) from error


def _way_to_have(name: Reference) -> str:
    """The next step for an image that no registry has."""
    if name.digest:
        return "`motorpool modelcar ls` tells the digests of those that are: name one, or a tag"
    return (
        f"build it: `motorpool modelcar build DIR -t {name}`, or `podman build -t {name}` as the "
        "user who runs motorpool"
    )


__all__ = ["Cancelled", "Image", "ImageError", "ImageStore", "Policy", "Progress", "Tree", "parse"]
