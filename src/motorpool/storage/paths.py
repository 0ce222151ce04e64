"""Models that are on this machine already.

They are copied: a link would lead nowhere for the server, which has only the mount in common.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from motorpool.storage.errors import NothingFound
from motorpool.storage.transfer import BLOCK, Item


class PathOrigin:
    def items(self, path: str, chosen: Callable[[str], bool]) -> list[Item]:
        root = Path(path)
        if not root.exists():
            raise NothingFound(f"no model at {path}: there is no such path here; correct it")
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        base = root.parent if root.is_file() else root
        found = [_item(file, base) for file in files if chosen(str(file.relative_to(base)))]
        if not found:
            raise NothingFound(f"no model at {path}: the directory holds no file that is wanted")
        return found

    def read(self, item: Item, offset: int) -> Iterator[memoryview]:
        with Path(item.address).open("rb") as file:
            file.seek(offset)
            while block := file.read(BLOCK):
                yield memoryview(block)


def _item(file: Path, base: Path) -> Item:
    stat = file.stat()
    return Item(
        path=file.relative_to(base).as_posix(),
        address=str(file),
        size=stat.st_size,
        version=f"{stat.st_mtime_ns}",
        modified_s=stat.st_mtime,
    )
