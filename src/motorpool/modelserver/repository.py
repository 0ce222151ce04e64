"""A model's directory: one numbered directory for each version.

Rules: a version's name is a positive number without sign; whatever else lies there is passed over.
Where there is no such directory, a model that KServe's own servers would find is version 1.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from motorpool.modelserver import formats

Signature = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of a version's files: changes when someone writes to them."""


UNVERSIONED = 1


class RepositoryError(Exception):
    pass


def version_numbers(names: Iterable[str]) -> list[int]:
    """The versions among *names*, lowest first."""
    return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]{0,17}", name))


def existing_versions(path: Path) -> list[int]:
    """The versions that there are, lowest first. Raises RepositoryError where there is none."""
    try:
        names = [entry.name for entry in path.iterdir() if entry.is_dir()]
    except OSError as error:
        raise RepositoryError(f"model path {path} cannot be read: {error.strerror}") from error
    versions = version_numbers(names)
    if not versions and formats.holds_estimator(path):
        return [UNVERSIONED]
    if not versions and (path / "config.json").is_file() and (path / "tokenizer.json").is_file():
        raise RepositoryError(
            f"{path} has a language model's files: serve it with --task text_generation, "
            "embeddings or rerank"
        )
    if not versions:
        raise RepositoryError(
            f"Not a single model version directory has valid numeric name in {path}; "
            "a model's files are in a directory that is named by their version, such as 1"
        )
    return versions


def version_directory(path: Path, version: int) -> Path:
    numbered = path / str(version)
    return path if version == UNVERSIONED and not numbered.is_dir() else numbered


def signature(version: Path) -> Signature:
    try:
        files = [(file.name, file.stat()) for file in sorted(version.iterdir())]
    except FileNotFoundError:
        return ()  # Taken away while we looked.
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)
