"""A model's directory: one numbered directory for each version.

Rules: a version's name is a positive number without sign; whatever else lies there is passed over.
Inside a version the first kind of file found wins, in the order of `FORMATS`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

FORMATS = ("*.xml", "*.onnx")

Signature = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of a version's files: changes when someone writes to them."""


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
    if not versions:
        raise RepositoryError(
            f"Not a single model version directory has valid numeric name in {path}; "
            f"put the model's files into {path}/1"
        )
    return versions


def model_file(version: Path) -> Path:
    """The file that the engine should read. Raises RepositoryError where there is none."""
    for pattern in FORMATS:
        if found := sorted(version.glob(pattern)):
            return _with_weights(found[0])
    raise RepositoryError(f"no OpenVINO IR (*.xml with *.bin) and no ONNX file in {version}")


def signature(version: Path) -> Signature:
    try:
        files = [(file.name, file.stat()) for file in sorted(version.iterdir())]
    except FileNotFoundError:
        return ()  # Taken away while we looked.
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)


def _with_weights(file: Path) -> Path:
    if file.suffix == ".xml" and not file.with_suffix(".bin").exists():
        raise RepositoryError(f"{file.with_suffix('.bin')} is missing beside {file.name}")
    return file
