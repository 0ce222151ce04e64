"""What processes use, from readings of /proc."""

import pytest

from motorpool.api.meta import Object
from motorpool.node.seen import Run
from motorpool.node.usage import Reading, Readings, machine, rates, sessions
from tests.node.conftest import Platform, pod, shell


def stat(pid: int, session: int, *ticks: int, name: str = "(sh)") -> str:
    spent = " ".join(map(str, (*ticks, 0, 0, 0, 0)[:4]))
    return f"{pid} {name} S 1 {session} {session} 0 -1 0 0 0 0 0 {spent} 20 0 1 0 999"


def run(id_: str, pid: int) -> Run:
    return Run(id_, pid, 1.0, 0.0, None, None, forked=False)


def test_a_session_is_all_that_its_program_started() -> None:
    stats = [stat(10, 10, 100, 50, 25, 25), stat(11, 10, 200), stat(20, 20, 7)]
    assert sessions(stats, 100) == {10: (4.0, [10, 11]), 20: (0.07, [20])}


def test_a_command_may_hold_anything() -> None:
    assert sessions([stat(10, 10, 100, name="(a) b (c d)")], 100) == {10: (1.0, [10])}


def test_what_is_used_is_what_came_between_two_readings() -> None:
    runs = {"u/c/0": run("u/c/0", 10)}
    before = Readings(100.0, {"u/c/0": Reading(4.0, 0)})
    after = Readings(110.0, {"u/c/0": Reading(9.0, 2 << 20)}, runs)
    found = rates(before, after)
    assert found.usage == {"u/c/0": {"cpu": "500000000n", "memory": "2048Ki"}}
    assert (found.window_s, found.runs) == (10.0, runs)


def test_a_run_that_began_in_between_counts_from_its_beginning() -> None:
    found = rates(Readings(100.0, {}), Readings(110.0, {"u/c/1": Reading(1.0, 0)}))
    assert found.usage["u/c/1"]["cpu"] == "100000000n"


def test_the_machine_is_busy_where_it_is_not_idle() -> None:
    lines = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1"
    memory = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB"
    assert machine(lines, memory, 100) == Reading(1.5, 600 * 1024)


@pytest.mark.slow
async def test_a_busy_pod_uses_the_cpu_and_an_idle_one_does_not(platform: Platform) -> None:
    await platform.create(pod("busy", shell("while :; do :; done")))
    await platform.create(pod("idle", shell("sleep 1000")))
    await platform.ready("busy")
    await platform.ready("idle")
    assert platform.agent is not None

    found = {each["metadata"]["name"]: each for each in await platform.agent.usage.pods("default")}

    assert nanocores(found["busy"]) > 50_000_000 > nanocores(found["idle"])
    [node] = await platform.agent.usage.nodes("")
    assert nanocores({"containers": [node]}) > 0
    assert await platform.agent.usage.pods("other") == []


def nanocores(metrics: Object) -> int:
    return int(metrics["containers"][0]["usage"]["cpu"].removesuffix("n"))
