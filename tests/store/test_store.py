import asyncio
import os
import subprocess
import sys

import pytest

from motorpool.store import Store
from motorpool.store.errors import (
    Compacted,
    FutureRevision,
    KeyExists,
    KeyNotFound,
    RevisionConflict,
    StoreClosed,
    StoreCorrupt,
    StoreFull,
    StoreLocked,
    StoreUnavailable,
    WatchLagged,
)
from motorpool.store.watch import PENDING_ROWS_MAX


@pytest.fixture
async def store(tmp_path):
    store = Store.open(tmp_path / "state.db")
    yield store
    await store.close()


async def test_a_key_is_read_as_it_was_written(store):
    created = await store.create("pods/a/x", b"one")
    updated = await store.update("pods/a/x", b"two", expected=created.revision)

    assert (await store.get("pods/a/x")).value == b"two"
    assert updated.created == created.revision
    assert updated.previous == created.revision
    assert store.revision == updated.revision == created.revision + 1


async def test_a_key_can_be_read_as_of_an_earlier_revision(store):
    created = await store.create("pods/a/x", b"one")
    await store.update("pods/a/x", b"two")
    assert (await store.get("pods/a/x", at=created.revision)).value == b"one"
    assert store.row(created.revision).value == b"one"


async def test_writes_that_expect_another_state_are_refused(store):
    row = await store.create("pods/a/x", b"one")
    await store.update("pods/a/x", b"two")

    with pytest.raises(KeyExists):
        await store.create("pods/a/x", b"again")
    with pytest.raises(RevisionConflict):
        await store.update("pods/a/x", b"stale", expected=row.revision)
    with pytest.raises(RevisionConflict):
        await store.delete("pods/a/x", expected=row.revision)
    with pytest.raises(KeyNotFound):
        await store.update("pods/a/y", b"missing")
    with pytest.raises(KeyNotFound):
        await store.delete("pods/a/y")
    assert (await store.get("pods/a/x")).value == b"two"


async def test_a_deleted_key_is_gone_and_may_come_back_as_a_new_one(store):
    first = await store.create("pods/a/x", b"one")
    gone = await store.delete("pods/a/x")
    assert await store.get("pods/a/x") is None
    assert gone.deleted
    assert gone.value == b"one"
    second = await store.create("pods/a/x", b"two")
    assert second.created > gone.revision > first.revision


async def test_a_list_holds_the_keys_under_its_prefix_in_order(store):
    for key in ("pods/b/x", "pods/a/y", "pods/a/x", "podsets/a/x", "nodes//n"):
        await store.create(key, key.encode())
    await store.delete("pods/b/x")
    assert [row.key for row in (await store.list("pods/")).rows] == ["pods/a/x", "pods/a/y"]
    assert [row.key for row in (await store.list("pods/a/")).rows] == ["pods/a/x", "pods/a/y"]


async def test_pages_of_a_list_show_one_revision(store):
    for name in "abcde":
        await store.create(f"pods/n/{name}", b"")
    first = await store.list("pods/", limit=2)
    await store.delete("pods/n/c")
    await store.create("pods/n/f", b"")
    second = await store.list("pods/", start=first.rows[-1].key, limit=2, at=first.revision)
    third = await store.list("pods/", start=second.rows[-1].key, limit=2, at=first.revision)

    names = [row.key[-1] for page in (first, second, third) for row in page.rows]
    assert "".join(names) == "abcde"
    assert (first.more, second.more, third.more) == (True, True, False)
    assert await store.count("pods/", start=first.rows[-1].key, at=first.revision) == 3


async def test_a_watch_gives_history_and_then_what_happens(store):
    await store.create("pods/a/x", b"1")
    await store.create("nodes//n", b"2")
    await store.update("pods/a/x", b"3")
    async with store.watch("pods/", after=1) as watch:
        seen = await watch.next()
        await store.delete("pods/a/x")
        seen += await watch.next()
    assert [(row.revision, row.value, bool(row.deleted)) for row in seen] == [
        (3, b"3", False),
        (4, b"3", True),
    ]


async def test_a_watch_misses_nothing_while_others_write(store):
    async def write():
        for number in range(600):
            await store.create(f"pods/a/{number:04d}", b"")

    writer = asyncio.create_task(write())
    await asyncio.sleep(0.01)
    async with store.watch("pods/", after=0) as watch:
        seen = []
        while len(seen) < 600:
            seen += await asyncio.wait_for(watch.next(), 30)
    await writer
    assert [row.revision for row in seen] == list(range(1, 601))


async def test_a_watcher_that_does_not_read_is_cut_off_and_the_others_are_not(store):
    async with store.watch("pods/", after=0) as slow, store.watch("pods/", after=0) as quick:
        seen = 0
        for start in range(0, PENDING_ROWS_MAX + 200, 200):
            creations = [store.create(f"pods/a/{start + n}", b"") for n in range(200)]
            await asyncio.gather(*creations)
            seen += len(await quick.next())
        with pytest.raises(WatchLagged):
            await slow.next()
    assert seen >= PENDING_ROWS_MAX


async def test_compaction_forgets_history_and_keeps_what_is(store):
    await store.create("pods/a/x", b"1")
    await store.update("pods/a/x", b"2")
    await store.create("pods/a/gone", b"3")
    await store.delete("pods/a/gone")
    await store.create("pods/a/y", b"5")
    await store.update("pods/a/y", b"6")

    assert await store.compact(keep_s=0, keep_revisions=1) == 5

    listed = await store.list("pods/")
    assert [(row.key, row.value) for row in listed.rows] == [("pods/a/x", b"2"), ("pods/a/y", b"6")]
    assert [store.row(n) is None for n in (1, 2, 3, 4, 5, 6)] == [1, 0, 1, 1, 0, 0]
    with pytest.raises(Compacted):
        await store.list("pods/", at=4)
    with pytest.raises(Compacted):
        async with store.watch("pods/", after=4):
            pass
    async with store.watch("pods/", after=5) as watch:
        assert [row.revision for row in await watch.next()] == [6]


async def test_compaction_keeps_what_is_young(store):
    await store.create("pods/a/x", b"1")
    await store.update("pods/a/x", b"2")
    assert await store.compact(keep_s=300, keep_revisions=1000) == 0
    assert store.row(1).value == b"1"


async def test_revisions_do_not_go_back_when_everything_is_deleted_and_forgotten(tmp_path):
    path = tmp_path / "state.db"
    store = Store.open(path)
    await store.create("a/x", b"")
    last = (await store.delete("a/x")).revision
    await store.compact(keep_s=0, keep_revisions=0)
    await store.close()
    store = Store.open(path)
    assert (await store.create("a/x", b"")).revision == last + 1
    await store.close()


async def test_a_revision_that_is_not_written_yet_can_be_awaited(store):
    with pytest.raises(FutureRevision):
        await store.get("a/x", at=1)
    waiting = asyncio.create_task(store.reached(2))
    await store.create("a/x", b"")
    assert not waiting.done()
    await store.create("a/y", b"")
    await asyncio.wait_for(waiting, 30)


async def test_stale_keys_are_those_last_written_long_ago(store):
    row = await store.create("events/a/x", b"")
    assert await store.stale("events/", written_before=0, limit=10) == []
    assert await store.stale("events/", written_before=4e9, limit=10) == [
        ("events/a/x", row.revision)
    ]


async def test_a_cancelled_writer_does_not_stop_the_others(store):
    cancelled = asyncio.create_task(store.create("a/x", b""))
    await asyncio.sleep(0)
    cancelled.cancel()
    await store.create("a/y", b"")
    assert await store.get("a/y") is not None


async def test_a_second_process_is_refused(tmp_path, store):
    with pytest.raises(StoreLocked, match="in use"):
        Store.open(tmp_path / "state.db")


async def test_a_directory_that_is_none_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"cannot write .*file/state\.db"):
        Store.open(tmp_path / "file" / "state.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_that_is_not_writable_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        Store.open(tmp_path / "state.db")


async def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreCorrupt, match="is damaged"):
        Store.open(tmp_path / "state.db")
    with pytest.raises(StoreCorrupt):  # the lock is free again
        Store.open(tmp_path / "state.db")


async def test_a_full_disk_fails_the_write_and_nothing_else(tmp_path):
    store = Store.open(tmp_path / "state.db", size_max_bytes=200_000)
    await store.create("a/small", b"kept")
    with pytest.raises(StoreFull, match="no space left"):
        await store.create("a/large", bytes(500_000))
    assert (await store.get("a/small")).value == b"kept"
    assert await store.get("a/large") is None
    assert (await store.create("a/second", b"")).revision == 2
    await store.close()


async def test_only_the_owner_can_read_the_file(tmp_path, store):
    await store.create("secrets/a/x", b"")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


async def test_closing_ends_watches_and_refuses_verbs(tmp_path):
    store = Store.open(tmp_path / "state.db")
    async with store.watch("a/", after=0) as watch:
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StoreClosed):
            await waiting
    with pytest.raises(StoreClosed):
        await store.get("a/x")


WRITER = """
import asyncio, sys
from pathlib import Path
from motorpool.store import Store

async def main(path, round_):
    store = Store.open(Path(path))
    async def write(worker):
        for number in range(100_000):
            row = await store.create(f"k/{round_}/{worker}/{number}", b"v" * 300)
            print(row.revision, row.key, flush=True)
            if number % 3 == 0:
                row = await store.delete(row.key)
                print(row.revision, row.key, "gone", flush=True)
            if number % 50 == 0:
                await store.compact(keep_s=0, keep_revisions=100)
    await asyncio.gather(*(write(worker) for worker in range(4)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    """MOTORPOOL_CRASH_ROUNDS makes it longer."""
    path = tmp_path / "state.db"
    rounds = int(os.environ.get("MOTORPOOL_CRASH_ROUNDS", "8"))
    highest = 0
    for number in range(rounds):
        acknowledged = await asyncio.to_thread(
            _write_and_kill, path, number, 17 + 61 * number % 400
        )
        assert acknowledged, "the child wrote nothing before it was killed"
        assert min(revision for revision, _, _ in acknowledged) > highest
        highest = max(revision for revision, _, _ in acknowledged)
        store = Store.open(path)
        assert store.revision >= highest
        last = {key: gone for _, key, gone in sorted(acknowledged)}
        lost = [key for key, gone in last.items() if (await store.get(key) is None) != gone]
        # A key whose creation was acknowledged may be deleted without the word having got out.
        unsure = {key for key in lost if not last[key] and int(key.split("/")[3]) % 3 == 0}
        assert set(lost) <= unsure
        highest = store.revision
        await store.close()


def _write_and_kill(path, number, lines):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE, text=True
    )
    acknowledged = []
    with child:
        for line in child.stdout:
            if not line.endswith("\n"):
                break
            words = line.split()
            acknowledged.append((int(words[0]), words[1], len(words) > 2))
            if len(acknowledged) == lines:
                child.kill()
                # What is in the pipe by now was acknowledged too, if its line is whole.
    return acknowledged
