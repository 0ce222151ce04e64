"""What goes when the disk fills up: decided with values, carried out on a real store."""

import os
from pathlib import Path

import pytest

from motorpool.images.collection import AGE_LEAST_S, Disk, Stored, chosen, excess_bytes
from motorpool.images.reference import parse
from motorpool.images.store import ImageStore
from tests.images.small_registry import SmallRegistry

NOW = 1_000_000.0


def image(name: str, age_s: float = 3600, size: int = 10, **fields: object) -> Stored:
    return Stored(name, NOW - age_s, {f"layer-of-{name}": size}, **fields)  # type: ignore[arg-type]


def names(images: list[Stored]) -> list[str]:
    return [one.digest for one in images]


@pytest.mark.parametrize(
    ("used", "excess"), [(0, 0), (850, 0), (851, 51), (1000, 200)], ids=str
)  # fmt: skip
def test_above_85_percent_as_much_goes_as_is_above_80(used: int, excess: int) -> None:
    assert excess_bytes(Disk(used, 1000 - used)) == excess


def test_the_longest_unused_goes_first_and_no_more_than_needed() -> None:
    images = [image("new", 200), image("old", 900), image("older", 1000)]

    assert names(chosen(images, 10, NOW)) == ["older"]
    assert names(chosen(images, 11, NOW)) == ["older", "old"]
    assert names(chosen(images, 1000, NOW)) == ["older", "old", "new"]
    assert chosen(images, 0, NOW) == []


def test_what_is_used_was_built_here_or_has_just_come_stays() -> None:
    images = [
        image("used", is_used=True), image("built", is_only_here=True),
        image("fresh", AGE_LEAST_S - 1), image("other"),
    ]  # fmt: skip

    assert names(chosen(images, 1000, NOW)) == ["other"]


def test_a_layer_that_another_image_needs_frees_nothing() -> None:
    shared = {"base": 100}
    first = Stored("first", NOW - 900, {**shared, "a": 1})
    second = Stored("second", NOW - 800, {**shared, "b": 1})
    third = image("third", 700)

    # The first frees 1, the second the rest: the third may stay.
    assert names(chosen([first, second, third], 50, NOW)) == ["first", "second"]
    used = Stored("second", NOW - 800, {**shared, "b": 1}, is_used=True)
    assert names(chosen([first, used, third], 50, NOW)) == ["first", "third"]


def pulled(store: ImageStore, small: SmallRegistry, *tags: str) -> list[str]:
    from tests.images.small_registry import tar

    found = []
    for tag in tags:
        small.add(tag, tar(("models/m", tag.encode() * 50_000)))
        found.append(store.pull(parse(f"{small.host}/model:{tag}")).digest)
    return found


def aged(store: ImageStore, digest: str, age_s: float) -> None:
    blob = store.content.root / "blobs" / "sha256" / digest.removeprefix("sha256:")
    os.utime(blob, (NOW - age_s, NOW - age_s))


def test_the_store_frees_what_was_chosen_and_keeps_what_is_used(
    store: ImageStore, small: SmallRegistry, tmp_path: Path
) -> None:
    one, two, three = pulled(store, small, "1", "2", "3")
    store.content.hold(one, "some-pod")
    for age_s, digest in ((900, one), (800, two), (700, three)):
        aged(store, digest, age_s)

    done = store.collect(1, NOW)

    assert [name.rsplit(":", 1)[1] for name in done.references] == ["2"]
    assert done.freed_bytes >= 50_000
    assert [found.reference.rsplit(":", 1)[1] for found in store.images()] == ["1", "3"]
    assert store.content.tree_path(one).exists()
    # To have been used a moment ago is to be young.
    store.release(one, "some-pod")
    assert store.collect(10**9, NOW).references == [f"{small.host}/model:3"]


def test_what_was_built_here_stays_until_it_is_at_a_registry(
    store: ImageStore, small: SmallRegistry, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "m").write_bytes(b"weights")
    digest = store.build(tmp_path / "model", parse("localhost/mine:1"))
    aged(store, digest, 10_000)

    assert store.collect(10**9, NOW).references == []
    store.content.note_made(digest, False)  # as a push does
    assert store.collect(10**9, NOW).references == ["localhost/mine:1"]
    assert list((store.content.root / "made").iterdir()) == []
