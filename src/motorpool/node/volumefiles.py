"""The files of configMap, secret, projected and downwardAPI volumes, replaced all at once.

    NAME -> ..data/NAME
    ..data -> ..RANDOM        the one step in which all files change
    ..RANDOM/NAME             the content

as the kubelet lays them out: a program sees all of the old files or all of the new ones, and one
that watches a volume is told by ``..data``.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

DATA = "..data"


def write_files(
    directory: Path, files: Mapping[str, bytes], mode: int, modes: Mapping[str, int] | None = None
) -> bool:
    """Makes *directory* hold exactly those files. False: it did already.

    *modes* are of the files whose mode is another than *mode*.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wanted = {name: (modes or {}).get(name, mode) for name in files}
    if (directory / DATA).is_dir() and _content(directory / DATA) == (files, wanted):
        return False
    new = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    new.chmod(0o755)
    for name, content in files.items():
        path = new / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(wanted[name])
    _link(directory / DATA, new.name)
    shown = {name.split("/")[0] for name in files}
    for name in shown:
        _link(directory / name, f"{DATA}/{name}")
    for path in list(directory.iterdir()):
        if path.name not in (DATA, new.name) and path.name not in shown:
            _remove(path)
    return True


def _content(data: Path) -> tuple[dict[str, bytes], dict[str, int]]:
    """The files and their modes."""
    root = data.resolve()
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    modes = {name: path.stat().st_mode & 0o7777 for name, path in found.items()}
    return {name: path.read_bytes() for name, path in found.items()}, modes


def _link(path: Path, target: str) -> None:
    """Points *path* at *target* in one step."""
    if path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115 - as it is written
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    temporary = path.with_name(f"..{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
