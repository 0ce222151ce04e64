"""The pod supervisor with real processes. Everything started here ends with its test."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from motorpool.base.datadir import memory_root
from motorpool.base.processes import identity_of
from motorpool.node.command import Fork, Program
from motorpool.node.process import ProcessEngine, ProcessError, stop_pods
from motorpool.node.seen import Run
from motorpool.node.supervisor import protocol
from motorpool.node.supervisor.cgroups import NO_LIMITS, Limits
from tests.node.conftest import exists, leftovers, readable, until

pytestmark = pytest.mark.slow

FORKABLE = """
import os, sys, time
def warm():
    if os.environ.get("WARM_FAILS"):
        raise RuntimeError("no such library")
def run(argv):
    print("forked", *argv, os.environ.get("NAME"), flush=True)
    if argv[0] == "sleep":
        time.sleep(60)
    if argv[0] == "raise":
        raise ValueError("boom")
    return int(argv[0])
if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
"""


class Node:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.ended: dict[str, Run] = {}
        self.engine = ProcessEngine(data_dir, self._note)
        self.task: asyncio.Task[None] | None = None

    def _note(self, run: Run) -> None:
        self.ended[run.id] = run

    def connect(self) -> None:
        self.task = asyncio.create_task(self.engine.run())

    async def disconnect(self) -> None:
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def end(self, id_: str) -> Run:
        await until(lambda: id_ in self.ended)
        return self.ended[id_]

    async def start(
        self,
        id_: str,
        *argv: str,
        fork: Fork | None = None,
        limits: Limits = NO_LIMITS,
        **env: str,
    ) -> Run:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **env}
        program = Program(argv, env, grace_s=1.0, fork=fork, limits=limits)
        run, _ = await self.engine.start(id_, program)
        return run

    def log(self, id_: str) -> list[str]:
        uid, container, number = id_.split("/")
        path = self.data_dir / "pods" / uid / "logs" / container / f"{number}.log"
        return readable(path).splitlines()

    def supervisor_pid(self) -> int:
        with protocol.connect(self.data_dir) as connection:
            connection.sendall(protocol.encoded({"seq": 1, "do": "list"}))
            with connection.makefile() as file:
                return int(json.loads(file.readline())["ok"]["pid"])


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "forkable.py").write_text(FORKABLE)
    source = str(Path(__file__).parents[2] / "src")
    monkeypatch.setenv("PYTHONPATH", f"{source}:{modules}")
    # Longer than an address of a unix socket may be.
    node = Node(tmp_path / ("long" * 30))
    node.data_dir.mkdir()
    node.connect()
    yield node
    await node.disconnect()
    await stop_pods(node.data_dir)
    await until(lambda: not leftovers(str(tmp_path)))


async def test_exit_codes_and_signals_are_exact(node: Node) -> None:
    await node.start("u/a/0", "/bin/sh", "-c", "exit 7")
    killed = await node.start("u/b/0", "/bin/sleep", "60")
    await node.engine.signal("u/b/0", signal.SIGKILL)
    assert (await node.end("u/a/0")).exit_code == 7
    end = await node.end("u/b/0")
    assert (end.exit_code, end.signal) == (137, 9)
    assert identity_of(killed.pid) is None
    assert not exists(f"/proc/{killed.pid}"), "a zombie"


async def test_lines_carry_their_time_and_stream(node: Node) -> None:
    await node.start("u/a/0", "/bin/sh", "-c", "echo out; echo err >&2; printf rest")
    await node.end("u/a/0")
    lines = [line.split(" ", 1) for line in node.log("u/a/0")]
    assert sorted(rest for _, rest in lines) == ["stderr F err", "stdout F out", "stdout F rest"]
    assert all(moment.endswith("Z") and len(moment) == 30 for moment, _ in lines)


async def test_a_program_that_does_not_exist_is_refused_with_its_name(node: Node) -> None:
    with pytest.raises(ProcessError, match=r"No such file.*/no/such"):
        await node.start("u/a/0", "/no/such")
    assert await node.engine.runs() == []


async def test_the_same_start_again_starts_nothing(node: Node) -> None:
    first = await node.start("u/a/0", "/bin/sleep", "60")
    assert (await node.start("u/a/0", "/bin/sleep", "60")).pid == first.pid


async def test_what_a_process_leaves_behind_ends_with_it(node: Node) -> None:
    await node.start("u/a/0", "/bin/sh", "-c", "sleep 61 & echo $!")
    await node.end("u/a/0")
    left = int(node.log("u/a/0")[0].split()[-1])
    await until(lambda: not Path(f"/proc/{left}").exists())


async def test_a_new_agent_finds_the_processes_and_the_exits_it_missed(node: Node) -> None:
    running = await node.start("u/a/0", "/bin/sleep", "60")
    await node.start("u/b/0", "/bin/sh", "-c", "sleep 0.2; exit 3")
    await node.disconnect()
    assert not node.ended
    await asyncio.to_thread(wait_for_exit, node.data_dir / "pods/u/run/b.0.json")
    node.connect()
    assert (await node.end("u/b/0")).exit_code == 3
    assert {run.id: run.pid for run in await node.engine.runs()}["u/a/0"] == running.pid
    await node.engine.forget("u/b/0")
    assert [run.id for run in await node.engine.runs()] == ["u/a/0"]
    assert not (node.data_dir / "pods/u/run/b.0.json").exists()


def wait_for_exit(record: Path) -> None:
    deadline = time.monotonic() + 30
    while not json.loads(record.read_text())["finished_at"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_killed_supervisor_leaves_the_pods_serving_and_the_next_one_finds_them(
    node: Node,
) -> None:
    script = "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo $i; sleep 0.01; done"
    running = await node.start("u/a/0", "/bin/sh", "-c", script)
    before = await asyncio.to_thread(node.supervisor_pid)
    os.kill(before, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{before}/exe").exists())
    runs = {run.id: run for run in await node.engine.runs()}
    assert await asyncio.to_thread(node.supervisor_pid) != before
    assert runs["u/a/0"].pid == running.pid
    assert identity_of(running.pid) is not None
    seen = len(node.log("u/a/0"))
    await until(lambda: len(node.log("u/a/0")) > seen + 5)
    numbers = [int(line.split()[-1]) for line in node.log("u/a/0")]
    assert numbers == list(range(1, len(numbers) + 1)), "no line was lost"
    os.kill(running.pid, signal.SIGKILL)
    end = await node.end("u/a/0")
    assert end.exit_code is None


async def test_half_a_request_and_nonsense_disturb_nobody(node: Node) -> None:
    await node.start("u/a/0", "/bin/sleep", "60")
    half = protocol.connect(node.data_dir)
    half.sendall(b'{"seq": 1, "do": "li')
    nonsense = protocol.connect(node.data_dir)
    nonsense.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert await asyncio.to_thread(nonsense.recv, 1) == b""
    assert len(await node.engine.runs()) == 1
    half.sendall(b'st"}\n')
    assert b'"processes"' in await asyncio.to_thread(half.recv, 65536)
    half.close()
    nonsense.close()
    with pytest.raises(ProcessError, match="bad request"):
        await node.start("../../etc/passwd", "/bin/true")


async def test_stop_ends_all_with_grace_then_the_supervisor(node: Node) -> None:
    stubborn = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    deaf = await node.start("u/a/0", "/bin/sh", "-c", stubborn)
    polite = await node.start("u/b/0", "/bin/sleep", "60")
    await until(lambda: node.log("u/a/0"))
    supervisor = await asyncio.to_thread(node.supervisor_pid)
    await node.disconnect()
    started = time.monotonic()
    assert await stop_pods(node.data_dir)
    assert time.monotonic() - started > 0.9
    for pid in (deaf.pid, polite.pid, supervisor):
        await until(lambda pid=pid: identity_of(pid) is None)
    assert not protocol.socket_path(node.data_dir).exists()
    assert not await stop_pods(node.data_dir)
    node.connect()
    assert [run.id for run in await node.engine.runs()] == ["u/a/0", "u/b/0"]


async def test_stop_gives_back_what_is_kept_in_memory(node: Node) -> None:
    await node.start("u/a/0", "/bin/sleep", "60")
    kept = memory_root(node.data_dir) / "u" / "volume"
    kept.mkdir(parents=True)
    await node.disconnect()
    assert await stop_pods(node.data_dir)
    assert not exists(str(memory_root(node.data_dir)))


async def test_pods_that_have_lost_their_supervisor_are_stopped_too(node: Node) -> None:
    run = await node.start("u/a/0", "/bin/sleep", "62")
    supervisor = await asyncio.to_thread(node.supervisor_pid)
    await node.disconnect()
    os.kill(supervisor, signal.SIGKILL)
    await until(lambda: not exists(f"/proc/{supervisor}/exe"))
    assert await stop_pods(node.data_dir)
    assert identity_of(run.pid) is None
    assert not await stop_pods(node.data_dir)


def forked(*argv: str) -> tuple[tuple[str, ...], Fork]:
    return (sys.executable, "-m", "forkable", *argv), Fork("forkable", argv)


async def test_a_forked_process_is_like_an_executed_one(node: Node) -> None:
    argv, fork = forked("3")
    run = await node.start("u/a/0", *argv, fork=fork, NAME="x")
    assert run.forked
    assert (await node.end("u/a/0")).exit_code == 3
    assert node.log("u/a/0")[0].endswith("stdout F forked 3 x")
    argv, fork = forked("sleep")
    run = await node.start("u/b/0", *argv, fork=fork)
    assert os.getsid(run.pid) == run.pid
    await node.engine.signal("u/b/0", signal.SIGTERM)
    end = await node.end("u/b/0")
    assert (end.exit_code, end.signal) == (143, 15)
    argv, fork = forked("raise")
    await node.start("u/c/0", *argv, fork=fork)
    assert (await node.end("u/c/0")).exit_code == 1
    assert node.log("u/c/0")[-1].endswith("ValueError: boom")


async def test_without_a_fork_server_programs_are_executed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program((sys.executable, "-c", "exit(4)"), {}, fork=Fork("no_such_module", ()))
    run, notice = await node.engine.start("u/a/0", program)
    assert not run.forked
    assert "ModuleNotFoundError" in notice
    assert (await node.end("u/a/0")).exit_code == 4


async def test_the_death_of_the_fork_server_hurts_no_child(node: Node) -> None:
    argv, fork = forked("sleep")
    run = await node.start("u/a/0", *argv, fork=fork)
    server = forkserver_pid(node.data_dir)
    os.kill(server, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{server}/exe").exists())
    assert identity_of(run.pid) is not None
    argv, fork = forked("5")
    await node.start("u/b/0", *argv, fork=fork)
    assert (await node.end("u/b/0")).exit_code == 5
    await node.engine.signal("u/a/0", signal.SIGKILL)
    assert (await node.end("u/a/0")).signal == 9


def forkserver_pid(data_dir: Path) -> int:
    with protocol.connect(data_dir) as connection:
        connection.sendall(protocol.encoded({"seq": 1, "do": "list"}))
        with connection.makefile() as file:
            return int(json.loads(file.readline())["ok"]["forkservers"][0]["pid"])
