"""What the node agent asks of the store: ensure, leases, sharing, and others beside it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from motorpool.images import trees
from motorpool.images.cancellation import Cancellation
from motorpool.images.errors import ImageError
from motorpool.images.manifest import digest_of
from motorpool.images.registry import BACKOFF
from motorpool.images.store import ImageStore, Progress, parse
from tests.images.small_registry import SmallRegistry, tar
from tests.timing import least_of, slowness

pytestmark = pytest.mark.slow

LOCAL = "localhost/ovms-resnet50:test"
BIG = bytes(range(256)) * 16384


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


# The policies.


@pytest.mark.parametrize("policy", ["IfNotPresent", "Never"])
async def test_a_local_image_is_taken_without_asking_anyone(
    store: ImageStore, model: Path, policy: str
) -> None:
    digest = store.build(model, parse(LOCAL))

    tree = await store.ensure(LOCAL, policy)  # type: ignore[arg-type]

    assert (tree.reference, tree.digest) == (LOCAL, digest)
    assert (tree.path / "models" / "1" / "model.xml").read_text() == "<net/>"


async def test_always_ignores_the_local_image_and_says_so(
    store: ImageStore, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motorpool.images.registry.BACKOFF", type(BACKOFF)(0.001, 0.01))
    store.build(model, parse("127.0.0.1:1/model:latest"))

    with pytest.raises(ImageError, match=r"cannot be reached.*local image is ignored") as error:
        await store.ensure("127.0.0.1:1/model", "Always")

    assert error.value.reason == "ErrImagePull"


async def test_never_names_the_verb_that_brings_the_image(store: ImageStore) -> None:
    with pytest.raises(ImageError, match=r"modelcar pull quay\.io/me/model:1") as error:
        await store.ensure("quay.io/me/model:1", "Never")

    assert error.value.reason == "ErrImageNeverPull"


async def test_a_name_that_is_none_is_told_from_an_image_that_is_missing(store: ImageStore) -> None:
    with pytest.raises(ImageError) as error:
        await store.ensure("Quay.io/Me/Model", "IfNotPresent")

    assert error.value.reason == "InvalidImageName"


async def test_always_follows_the_tag_to_its_new_image(
    store: ImageStore, small: SmallRegistry
) -> None:
    name = f"{small.host}/model:1"
    small.add("1", tar(("models/m", b"old")))
    old = await store.ensure(name, "Always", owner="pod-1")
    small.add("1", tar(("models/m", b"new")))

    kept = await store.ensure(name, "IfNotPresent")
    new = await store.ensure(name, "Always")

    assert (kept.path / "models" / "m").read_text() == "old"
    assert (new.path / "models" / "m").read_text() == "new"
    store.content.sweep()
    assert old.path.exists(), "a pod still serves the old one"
    store.release(old.digest, "pod-1")
    store.content.sweep()
    assert not old.path.exists()


async def test_always_transfers_nothing_that_is_here(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    for _ in range(3):
        await store.ensure(f"{small.host}/model:1", "Always")

    assert len(small.asked(digest_of(layer))) == 1


async def test_a_digest_is_found_under_the_tag_it_was_pulled_by(
    store: ImageStore, small: SmallRegistry
) -> None:
    digest = small.add("1", tar(("models/m", b"x")))
    await store.ensure(f"{small.host}/model:1", "IfNotPresent")

    tree = await store.ensure(f"{small.host}/model@{digest}", "Never")

    assert tree.digest == digest


# Speed, progress, several at once.


async def test_an_image_that_is_here_is_ensured_in_five_milliseconds(
    store: ImageStore, model: Path
) -> None:
    store.build(model, parse(LOCAL))
    await store.ensure(LOCAL, "Never")
    bound_s = 0.005 * slowness()

    async def measured_s() -> float:
        start = time.perf_counter()
        await store.ensure(LOCAL, "IfNotPresent")
        return time.perf_counter() - start

    assert await least_of(measured_s, bound_s) < bound_s


async def test_progress_arrives_in_the_loop_and_ends_at_the_whole(
    store: ImageStore, small: SmallRegistry
) -> None:
    small.add("1", tar(("models/m", BIG)))
    seen: list[tuple[Progress, str]] = []

    await store.ensure(
        f"{small.host}/model:1",
        "IfNotPresent",
        progress=lambda now: seen.append((now, threading.current_thread().name)),
    )
    await until(lambda: bool(seen) and seen[-1][0].done_bytes == seen[-1][0].total_bytes > 0)

    assert {thread for _, thread in seen} == {threading.current_thread().name}


async def test_all_who_want_one_image_share_the_work(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)

    found = await asyncio.gather(
        *(store.ensure(f"{small.host}/model:1", "IfNotPresent") for _ in range(8))
    )

    assert len({tree.path for tree in found}) == 1
    assert len(small.asked(digest_of(layer))) == 1


async def test_one_who_goes_away_does_not_stop_the_others(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    gate = small.gates[digest_of(layer)] = threading.Event()
    first, second = (
        asyncio.create_task(store.ensure(f"{small.host}/model:1", "IfNotPresent")) for _ in range(2)
    )
    await until(lambda: bool(small.asked(digest_of(layer))))

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()

    assert (await second).path.exists()


async def test_when_all_have_gone_the_work_stops_and_can_start_anew(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    small.gates[digest_of(layer)] = threading.Event()
    name = f"{small.host}/model:1"
    task = asyncio.create_task(store.ensure(name, "IfNotPresent"))
    await until(lambda: bool(small.asked(digest_of(layer))))

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    small.gates.pop(digest_of(layer)).set()

    assert (await store.ensure(name, "IfNotPresent")).path.exists()


async def test_an_image_that_is_here_does_not_wait_behind_those_that_are_pulled(
    store: ImageStore, small: SmallRegistry, model: Path
) -> None:
    store.build(model, parse(LOCAL))
    pulls = []
    for number in range(6):
        layer = tar((f"models/{number}", BIG))
        small.add(str(number), layer)
        small.gates[digest_of(layer)] = threading.Event()
        name = f"{small.host}/model:{number}"
        pulls.append(asyncio.create_task(store.ensure(name, "IfNotPresent")))
    await until(lambda: len([line for line in small.requests if "/blobs/" in line]) >= 4)

    async with asyncio.timeout(30):
        assert (await store.ensure(LOCAL, "IfNotPresent")).path.exists()

    for gate in small.gates.values():
        gate.set()
    assert len({tree.path for tree in await asyncio.gather(*pulls)}) == 6


async def test_images_share_the_layers_they_have_in_common(
    store: ImageStore, small: SmallRegistry
) -> None:
    common = tar(("models/weights", BIG))
    small.add("1", common, tar(("models/tokenizer", b"1")))
    small.add("2", common, tar(("models/tokenizer", b"2")))

    one, two = [await store.ensure(f"{small.host}/model:{tag}", "Always") for tag in (1, 2)]

    assert (one.path / "models" / "weights").samefile(two.path / "models" / "weights")
    assert (two.path / "models" / "tokenizer").read_text() == "2"
    assert len(small.asked(digest_of(common))) == 1


# Removing.


async def test_an_image_in_use_is_not_removed_and_says_by_whom(
    store: ImageStore, model: Path
) -> None:
    store.build(model, parse(LOCAL))
    tree = await store.ensure(LOCAL, "Never", owner="pod-7")
    again = ImageStore(store.content.root)  # the command line's own

    with pytest.raises(ImageError, match="is used by pod-7"):
        again.remove(parse(LOCAL))
    assert again.owners() == {tree.digest: ["pod-7"]}

    store.release(tree.digest, "pod-7")
    assert again.remove(parse(LOCAL)) > 70_000
    assert not tree.path.exists()


def test_removing_frees_only_what_no_other_image_needs(store: ImageStore, model: Path) -> None:
    store.build(model, parse("a:1"))
    store.build(model, parse("b:1"))
    (model / "2").mkdir()
    (model / "2" / "m").write_text("x")
    store.build(model, parse("c:1"))

    assert store.remove(parse("a:1")) == 0
    store.ensure_now(parse("b:1"), "Never")
    store.remove(parse("c:1"))

    assert [image.reference for image in store.images()] == ["localhost/b:1"]
    assert len(list(store.content.layers.iterdir())) == 1
    with pytest.raises(ImageError, match="is not on this machine"):
        store.remove(parse("a:1"))


def test_nothing_is_swept_while_another_process_adds(store: ImageStore, model: Path) -> None:
    store.build(model, parse(LOCAL))
    other = ImageStore(store.content.root)
    with other.content.adding(Cancellation()):
        assert store.remove(parse(LOCAL)) == 0
        assert len(list(store.content.layers.iterdir())) == 1

    assert store.content.sweep() > 70_000  # type: ignore[operator]


# Crashes, full disks, forbidden directories.

PULL = (
    "import sys; from pathlib import Path; from motorpool.images.store import ImageStore, parse;"
    "ImageStore(Path(sys.argv[1])).pull(parse(sys.argv[2]))"
)


def start_pull(store: ImageStore, name: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", PULL, str(store.content.root), name], env=environment
    )


@pytest.mark.slow
async def test_after_kill_9_the_next_pull_goes_on_where_it_stopped(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    small.gates[digest_of(layer)] = threading.Event()
    process = start_pull(store, f"{small.host}/model:1")
    half = store.content.ingest / f"layer-{digest_of(layer)[7:]}" / "files" / "0"
    await until(lambda: half.exists() and half.stat().st_size >= 1 << 20, 20)

    process.send_signal(signal.SIGKILL)
    process.wait()
    small.gates.pop(digest_of(layer)).set()
    assert store.images() == []
    tree = await store.ensure(f"{small.host}/model:1", "IfNotPresent")

    assert (tree.path / "models" / "m").read_bytes() == BIG
    assert "bytes=" in small.asked(digest_of(layer))[-1]
    assert list(store.content.ingest.iterdir()) == []


@pytest.mark.slow
async def test_two_processes_that_pull_one_image_fetch_it_once(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    processes = [start_pull(store, f"{small.host}/model:1") for _ in range(2)]

    for process in processes:
        assert await asyncio.to_thread(process.wait, 30) == 0

    assert len(small.asked(digest_of(layer))) == 1
    assert store.ensure_now(parse(f"{small.host}/model:1"), "Never").path.exists()


async def test_what_a_killed_unpack_left_is_swept(store: ImageStore, model: Path) -> None:
    store.build(model, parse(LOCAL))
    trees.remove(store.ensure_now(parse(LOCAL), "Never").path)
    manifest = store.content.manifest(store.content.references()[LOCAL])
    half = store.content.ingest / f"tree-{manifest.hex}"
    (half / "models").mkdir(parents=True)
    (half / "models").chmod(0o555)
    (store.content.ingest / "build-x").mkdir()

    tree = await store.ensure(LOCAL, "Never")

    assert sorted(path.name for path in (tree.path / "models").iterdir()) == ["1"]
    assert list(store.content.ingest.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_an_error_with_a_way_out(tmp_path: Path, small: SmallRegistry) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", str(disk)])
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = ImageStore(disk / "images")
        small.add("1", tar(("models/m", BIG)))
        with pytest.raises(ImageError, match=r"needs 4 MiB and .* has \d MiB left"):
            store.pull(parse(f"{small.host}/model:1"))

        import gzip

        from tests.images.small_registry import GZIP

        small.add("2", gzip.compress(tar(("models/m", BIG))), media_type=GZIP)
        with pytest.raises(ImageError, match="No space left on device; make room"):
            store.pull(parse(f"{small.host}/model:2"))

        big = tmp_path / "big"
        big.mkdir()
        (big / "m").write_bytes(BIG)
        with pytest.raises(ImageError, match="No space left on device"):
            store.build(big, parse("a:1"))
        assert store.images() == []
        (big / "m").write_bytes(b"small")
        assert store.build(big, parse("a:1")), "what was half-written has been removed"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ImageError, match=r"cannot write to .*choose another --data-dir"):
        ImageStore(tmp_path / "file" / "images").build(model, parse("a:1"))


def test_looking_needs_no_data_directory(tmp_path: Path) -> None:
    assert ImageStore(tmp_path / "none" / "images").images() == []
    assert not (tmp_path / "none").exists()


def test_a_tree_without_hard_links_is_copied(
    store: ImageStore, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(trees.os, "link", refuse)
    store.build(model, parse(LOCAL))

    tree = store.ensure_now(parse(LOCAL), "Never")

    copied = tree.path / "models" / "1" / "model.xml"
    assert (copied.read_text(), copied.stat().st_mode & 0o777) == ("<net/>", 0o444)


async def test_an_image_whose_parts_were_lost_is_pulled_again(
    store: ImageStore, small: SmallRegistry
) -> None:
    small.add("1", tar(("models/m", b"x")))
    name = f"{small.host}/model:1"
    tree = await store.ensure(name, "IfNotPresent")
    trees.remove(tree.path)
    trees.remove(store.content.layers)

    with pytest.raises(ImageError, match="is not on this machine"):
        await store.ensure(name, "Never")
    tree = await store.ensure(name, "IfNotPresent")

    assert (tree.path / "models" / "m").read_text() == "x"


def test_a_damaged_index_is_named(store: ImageStore, model: Path) -> None:
    store.build(model, parse(LOCAL))
    (store.content.root / "index.json").write_text("{")

    with pytest.raises(ImageError, match=r"index\.json is damaged; remove it"):
        store.images()
