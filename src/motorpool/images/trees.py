"""Layers to a tree: what the tree will hold is planned and checked whole, then made with links.

Rules:
  1. `plan` is pure. It refuses before anything is written, and what it returns is safe to carry
     out: every path is relative, every parent a real directory of this tree, no link leaves it.
  2. `models/` is what servers read, so it is held to the letter: no absolute links, no setuid.
     The rest of an image is an operating system that nothing here executes: its absolute links are
     made relative to the image's root and its modes are dropped, so that ModelCars built upon
     busybox or ubi work.
  3. Files are hard links into their layers: images share them, and the tree costs no space.
"""

import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from motorpool.images.errors import RefusedContent
from motorpool.images.layer import LayerEntry, Limits
from motorpool.images.tar import DIRECTORY, FILE, HARDLINK, SYMLINK

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
PATH_BYTES_MAX = 4096
NAME_BYTES_MAX = 255
DEPTH_MAX = 128
LINK_STEPS_MAX = 10_000
SERVED = "models"
# What link() answers without hard links, across filesystems, or at an inode's limit.
_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.ENOTSUP)


@dataclass(slots=True)
class Node:
    """A directory where *kind* is that, else a leaf."""

    kind: str
    target: str = ""
    layer: str = ""
    file: int = -1
    is_executable: bool = False
    children: "dict[str, Node]" = field(default_factory=dict)
    layer_number: int = 0


def plan(layers: Iterable[tuple[str, Iterable[LayerEntry]]], limits: Limits | None = None) -> Node:
    """The tree that *layers* (name, entries), lowest first, make. Raises RefusedContent."""
    entries_max = (limits or Limits()).entries_max
    root = Node(DIRECTORY)
    count = 0
    for number, (layer, entries) in enumerate(layers):
        for entry in entries:
            count += 1
            if count > entries_max:
                raise RefusedContent(f"the image has more than {entries_max} entries")
            _add(root, _parts(entry.path), entry, layer, number)
    _check_links(root, (), "")
    return root


def make(root: Node, directory: Path, layers: Path) -> None:
    """Makes the planned tree in *directory*, which must not exist; read-only when done."""
    directory.mkdir(mode=0o755)
    for name, node in root.children.items():
        path = directory / name
        if node.kind == DIRECTORY:
            make(node, path, layers)
        elif node.kind == SYMLINK:
            path.symlink_to(node.target)
        else:
            _link(layers / node.layer / "files" / str(node.file), path, node.is_executable)
    directory.chmod(0o555)


def remove(directory: Path) -> None:
    """Removes a tree that is read-only by design."""
    for parent, directories, _ in os.walk(directory):
        for name in directories:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755)
    if directory.exists():
        directory.chmod(0o755)
        shutil.rmtree(directory)


def _link(source: Path, path: Path, is_executable: bool) -> None:
    # One inode has one mode: a file that is executable here and not there needs a copy.
    current = stat.S_IMODE(source.stat().st_mode)
    wanted = 0o555 if is_executable else 0o444
    if current == wanted:
        try:
            os.link(source, path)
        except OSError as error:  # a filesystem without hard links, or too many of them
            if error.errno not in _NO_LINKS:
                raise
        else:
            return
    shutil.copyfile(source, path)
    path.chmod(wanted)


def _add(root: Node, parts: tuple[str, ...], entry: LayerEntry, layer: str, number: int) -> None:
    if not parts:
        if entry.kind != DIRECTORY:
            raise RefusedContent(f"'{entry.path}' is a {entry.kind} where the image's root belongs")
        return
    parent = _directory(root, parts[:-1], entry.path, number)
    name = parts[-1]
    if name == OPAQUE:
        _hide_lower(parent, number)
    elif name.startswith(WHITEOUT):
        _hide(parent, name.removeprefix(WHITEOUT), entry.path, number)
    elif entry.kind == DIRECTORY:
        _directory(root, parts, entry.path, number)
    else:
        parent.children[name] = _leaf(root, parts, entry, layer, number)


def _leaf(root: Node, parts: tuple[str, ...], entry: LayerEntry, layer: str, number: int) -> Node:
    if parts[0] == SERVED and entry.mode & (stat.S_ISUID | stat.S_ISGID):
        raise RefusedContent(
            f"'{entry.path}' has its setuid or setgid bit on, which no model needs; "
            "remove it (chmod ug-s) and push the image again"
        )
    if entry.kind == SYMLINK:
        return Node(SYMLINK, target=_link_target(parts, entry), layer_number=number)
    if entry.kind == HARDLINK:
        linked = _find(root, _parts(entry.target))
        if linked is None or linked.kind != FILE:
            raise RefusedContent(
                f"'{entry.path}' is a hard link to '{entry.target}', which is no file of the image"
            )
        return Node(FILE, "", linked.layer, linked.file, linked.is_executable, {}, number)
    return Node(FILE, "", layer, entry.file, bool(entry.mode & 0o111), {}, number)


def _directory(root: Node, parts: tuple[str, ...], path: str, number: int) -> Node:
    node = root
    for part in parts:
        child = node.children.get(part)
        if child is None or child.kind != DIRECTORY:
            if child is not None and child.layer_number == number:
                # In one archive this is how a write is smuggled through a link.
                raise RefusedContent(f"'{path}' would be written through the {child.kind} '{part}'")
            child = node.children[part] = Node(DIRECTORY)
        child.layer_number = number
        node = child
    return node


def _hide(parent: Node, name: str, path: str, number: int) -> None:
    if name in ("", ".", ".."):
        raise RefusedContent(f"'{path}' is a whiteout of nothing")
    hidden = parent.children.get(name)
    if hidden is None:
        return
    # A whiteout hides what lies below, never what its own layer brings.
    if hidden.layer_number < number:
        del parent.children[name]
    elif hidden.kind == DIRECTORY:
        _hide_lower(hidden, number)


def _hide_lower(directory: Node, number: int) -> None:
    for name, child in list(directory.children.items()):
        if child.layer_number < number:
            del directory.children[name]
        elif child.kind == DIRECTORY:
            _hide_lower(child, number)


def _find(root: Node, parts: tuple[str, ...]) -> Node | None:
    node: Node | None = root
    for part in parts:
        if node is None or node.kind != DIRECTORY:
            return None
        node = node.children.get(part)
    return node


def _parts(path: str) -> tuple[str, ...]:
    """Raises RefusedContent for every path that is not plainly below the root."""
    if path.startswith("/"):
        raise RefusedContent(f"'{path}' is an absolute path; paths in an image are relative")
    if "\0" in path or len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise RefusedContent(f"'{path[:80]}' is not a usable path")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise RefusedContent(f"'{path}' leaves the image through '..'")
    if len(parts) > DEPTH_MAX:
        raise RefusedContent(f"'{path[:80]}' is more than {DEPTH_MAX} directories deep")
    if any(len(os.fsencode(part)) > NAME_BYTES_MAX for part in parts):
        raise RefusedContent(f"'{path[:80]}' has a name of more than {NAME_BYTES_MAX} bytes")
    return parts


def _link_target(parts: tuple[str, ...], entry: LayerEntry) -> str:
    target = entry.target
    if not target or "\0" in target or len(os.fsencode(target)) > PATH_BYTES_MAX:
        raise RefusedContent(f"'{entry.path}' is a symbolic link to nowhere")
    if not target.startswith("/"):
        return target
    if parts[0] == SERVED:
        raise RefusedContent(
            f"'{entry.path}' is a symbolic link to the absolute path '{target}', which leaves the "
            "image; use a relative link"
        )
    inside = posixpath.normpath("/" + target).lstrip("/") or "."
    return posixpath.relpath(inside, posixpath.join(*parts[:-1]) if parts[:-1] else ".")


def _check_links(node: Node, above: tuple[Node, ...], path: str) -> None:
    """Every symbolic link, followed as the kernel follows it, must stay inside."""
    here = (*above, node)
    for name, child in node.children.items():
        if child.kind == DIRECTORY:
            _check_links(child, here, f"{path}{name}/")
        elif child.kind == SYMLINK and not _stays_inside(here, child.target):
            raise RefusedContent(
                f"'{path}{name}' is a symbolic link to '{child.target}', which leaves the image; "
                "put a file in its place"
            )


def _stays_inside(start: tuple[Node, ...], target: str) -> bool:
    """Reading the text alone is not enough: `sub/..` is not here when `sub` is itself a link."""
    at = list(start)
    todo = target.split("/")[::-1]
    for _ in range(LINK_STEPS_MAX):
        if not todo:
            return True
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if len(at) == 1:
                return False
            at.pop()
            continue
        child = at[-1].children.get(part)
        if child is None or child.kind == FILE:
            return True  # a dangling link leads nowhere, and nothing can appear in a read-only tree
        if child.kind == SYMLINK:
            todo += child.target.split("/")[::-1]
        else:
            at.append(child)
    return True  # the kernel gives up on such a chain long before
