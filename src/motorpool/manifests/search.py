"""Which directories are applied, and in which order: MicroShift's rules.

    manifests          a directory, with a kustomization or without
    manifests.d/*      every directory below, each by itself; only one level
    manifests/delete, manifests.d/delete/*      what is to be deleted, for each of these

Rules: everything that is deleted comes before anything that is applied; entries keep their order;
of one entry, all `kustomization.yaml` come before any `kustomization.yml`, each sorted by name.
"""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from motorpool.manifests.kustomize.kustomization import FILE_NAMES


def default_entries(data_dir: Path) -> list[str]:
    """What is looked at without being told."""
    root = glob.escape(str(data_dir))
    return [f"{root}/manifests", f"{root}/manifests.d/*"]


def to_delete(entries: Iterable[str]) -> list[Path]:
    return list(_found(_delete_entry(entry) for entry in entries))


def to_apply(entries: Iterable[str]) -> list[Path]:
    return list(_found(entries))


def _delete_entry(entry: str) -> str:
    return f"{entry[:-1]}delete/*" if entry.endswith("*") else f"{entry.rstrip('/')}/delete"


def _found(entries: Iterable[str]) -> Iterator[Path]:
    for entry in entries:
        for name in FILE_NAMES:
            for file in sorted(glob.glob(f"{entry}/{name}")):  # noqa: PTH207 - entries are globs
                yield Path(file).parent
