"""What tree layers make, and what is refused before anything is written."""

import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from motorpool.images.errors import RefusedContent
from motorpool.images.layer import LayerEntry, Limits
from motorpool.images.tar import ByteStream, TarReader
from motorpool.images.trees import Node, plan
from tests.images.small_registry import special, tar


def entries(raw: bytes) -> Iterator[LayerEntry]:
    reader = TarReader(ByteStream(iter([raw[i : i + 700] for i in range(0, len(raw), 700)])), len)
    for number, one in enumerate(reader.entries()):
        yield LayerEntry(one.path, one.kind, one.mode, one.size, one.target, 0, number)


def planned(*layers: bytes) -> Node:
    return plan((str(number), entries(raw)) for number, raw in enumerate(layers))


def shape(node: Node) -> dict[str, Any]:
    """Directories as dicts, files as their layer, links as `-> target`."""
    return {
        name: shape(child)
        if child.kind == "directory"
        else (f"-> {child.target}" if child.kind == "symlink" else child.layer)
        for name, child in sorted(node.children.items())
    }


def test_upper_layers_replace_what_lies_below() -> None:
    lower = tar(("models/a", b"1"), ("models/b", b"1"))
    upper = tar(("models/b", b"2"), ("models/c", b"2"))

    assert shape(planned(lower, upper)) == {"models": {"a": "0", "b": "1", "c": "1"}}


def test_a_whiteout_hides_what_lies_below_and_leaves_no_trace() -> None:
    lower = tar(("models/a", b"1"), ("models/d/b", b"1"))
    upper = tar(("models/.wh.a", b""), ("models/.wh.d", b""), ("models/d/new", b""))

    assert shape(planned(lower, upper)) == {"models": {"d": {"new": "1"}}}


def test_a_whiteout_never_hides_what_its_own_layer_brings_whatever_the_order() -> None:
    upper = tar(("models/a", b"2"), ("models/.wh.a", b""))

    assert shape(planned(tar(("models/a", b"1")), upper)) == {"models": {"a": "1"}}


def test_an_opaque_directory_hides_everything_below_it() -> None:
    lower = tar(("models/1/a", b"1"), ("models/2/b", b"1"))
    upper = tar(("models/1/new", b""), ("models/1/.wh..wh..opq", b""))

    assert shape(planned(lower, upper)) == {"models": {"1": {"new": "1"}, "2": {"b": "0"}}}


def test_a_hard_link_is_the_file_that_it_names_in_lower_layers_too() -> None:
    upper = tar(special("models/b", tarfile.LNKTYPE, "models/a"))

    assert shape(planned(tar(("models/a", b"1")), upper)) == {"models": {"a": "0", "b": "0"}}


def test_links_that_stay_are_kept() -> None:
    raw = tar(("models/1/a", b""), special("models/2", tarfile.SYMTYPE, "../models/1/a"))

    assert shape(planned(raw))["models"]["2"] == "-> ../models/1/a"


def test_absolute_links_of_the_operating_system_become_relative_to_the_image() -> None:
    raw = tar(
        ("bin/busybox", b""),
        special("bin/sh", tarfile.SYMTYPE, "/bin/busybox"),
        special("usr/lib/x", tarfile.SYMTYPE, "/../../etc/passwd"),
        special("su", tarfile.REGTYPE, mode=0o4755),
    )

    tree = shape(planned(raw))

    assert tree["bin"]["sh"] == "-> busybox"
    assert tree["usr"]["lib"]["x"] == "-> ../../etc/passwd"


def test_a_directory_may_replace_a_link_of_a_lower_layer() -> None:
    lower = tar(special("lib", tarfile.SYMTYPE, "usr/lib"))

    assert shape(planned(lower, tar(("lib/x", b"")))) == {"lib": {"x": "1"}}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (tar(("../etc/passwd", b"")), "leaves the image through '..'"),
        (tar(("models/../../x", b"")), "leaves the image through '..'"),
        (tar(("/etc/passwd", b"")), "absolute path"),
        (tar(special("models/l", tarfile.SYMTYPE, "/etc/passwd")), "absolute path '/etc/passwd'"),
        (tar(special("models/l", tarfile.SYMTYPE, "../../etc")), "which leaves the image"),
        (
            # Reads as if it stayed: but `up` is the root, and from there '..' goes out.
            tar(
                special("models/up", tarfile.SYMTYPE, ".."),
                special("models/out", tarfile.SYMTYPE, "up/../etc"),
            ),
            "'models/out' is a symbolic link",
        ),
        (
            tar(special("models/d", tarfile.SYMTYPE, "1"), ("models/d/x", b"")),
            "written through the symlink 'd'",
        ),
        (tar(special("models/l", tarfile.SYMTYPE, "")), "symbolic link to nowhere"),
        (tar(special("models/h", tarfile.LNKTYPE, "/etc/passwd")), "absolute path"),
        (tar(special("models/h", tarfile.LNKTYPE, "models/none")), "no file of the image"),
        (tar(special("models/null", tarfile.CHRTYPE)), "character device"),
        (tar(special("models/sda", tarfile.BLKTYPE)), "block device"),
        (tar(special("models/pipe", tarfile.FIFOTYPE)), "a fifo"),
        (tar(special("models/su", tarfile.REGTYPE, mode=0o4755)), "setuid"),
        (tar(special("models/sg", tarfile.REGTYPE, mode=0o2755)), "setuid or setgid"),
        (tar(("models/.wh...", b"")), "whiteout of nothing"),
        (tar(("models/" + "n" * 256, b"")), "more than 255 bytes"),
        (tar(("d/" * 200 + "x", b"")), "directories deep"),
        (tar(("./", b"")), "where the image's root belongs"),
    ],
)
def test_what_would_leave_the_tree_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(RefusedContent, match=r".") as refused:
        planned(raw)

    assert why in str(refused.value)


def test_too_many_entries_are_refused() -> None:
    raw = tar(*((f"models/{n}", b"") for n in range(11)))

    with pytest.raises(RefusedContent, match="more than 10 entries"):
        plan([("", entries(raw))], Limits(entries_max=10))


def test_long_names_and_large_headers_are_read_in_both_dialects() -> None:
    path = "models/" + "/".join(["ü" * 50] * 5)
    for dialect in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        info = tarfile.TarInfo(path)
        info.type, info.linkname = tarfile.SYMTYPE, "x" * 300
        raw = info.tobuf(dialect) + bytes(1024)
        (entry,) = entries(raw)
        assert (entry.path, entry.target) == (path, "x" * 300)


@pytest.mark.parametrize("cut", [1, 511, 513, 1500])
def test_an_archive_that_ends_early_is_refused(cut: int) -> None:
    raw = tar(("models/a", b"x" * 1200))[: 512 + 1200]

    with pytest.raises(RefusedContent):
        list(entries(raw[:cut]))
