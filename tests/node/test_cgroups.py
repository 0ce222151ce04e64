"""Where control groups may be made, and what is written into them: recorded machines."""

from pathlib import Path

import pytest

from motorpool.node.limits import limits_of, thread_environment
from motorpool.node.supervisor.cgroups import Limits, Place, oom_kills, places, settings
from motorpool.node.supervisor.groups import Groups

UNIFIED = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
SPLIT = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:11 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_a_login_of_systemd_is_in_its_scope() -> None:
    scope = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope"
    found = places(f"0::{scope}\n", UNIFIED)
    place = Place(2, f"/sys/fs/cgroup{scope}", is_top=False)
    assert found == {"cpu": place, "memory": place}


def test_a_container_sees_its_own_group_as_the_top() -> None:
    place = Place(2, "/sys/fs/cgroup", is_top=True)
    assert places("0::/\n", UNIFIED) == {"cpu": place, "memory": place}


def test_whoever_was_moved_aside_counts_as_in_the_group_above() -> None:
    found = places("0::/run-u7.scope/motorpool-main\n", UNIFIED)
    assert found["cpu"] == Place(2, "/sys/fs/cgroup/run-u7.scope", is_top=False)
    assert places("0::/motorpool-main\n", UNIFIED)["cpu"].is_top


def test_version_1_has_a_hierarchy_for_each_controller() -> None:
    own = "4:memory:/jobs/7\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n"
    assert places(own, SPLIT) == {
        "cpu": Place(1, "/sys/fs/cgroup/cpu,cpuacct", is_top=True),
        "memory": Place(1, "/sys/fs/cgroup/memory/jobs/7", is_top=False),
    }


def test_a_container_of_version_1_has_only_its_own_part_mounted() -> None:
    mounted = "9 8 0:32 /docker/a\\040b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    found = places("4:memory:/docker/a b/x\n", mounted)
    assert found == {"memory": Place(1, "/sys/fs/cgroup/memory/x", is_top=False)}
    assert places("4:memory:/docker/ab\n", mounted) == {}, "another group"
    assert places("4:memory:/../other\n", mounted) == {}, "outside of the name space"


def test_nothing_is_found_where_nothing_is_mounted() -> None:
    assert places("0::/\n", "22 1 0:20 / /proc rw - proc proc rw\n") == {}


def written(version: int, limits: Limits) -> dict[str, str]:
    assert version in (1, 2)
    every = [*settings(version, "cpu", limits), *settings(version, "memory", limits)]
    return {setting.file: setting.content for setting in every}


def test_limits_as_version_1_has_them() -> None:
    assert written(1, Limits(1500, 250, 64 << 20)) == {
        "cpu.shares": "256",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
        "memory.limit_in_bytes": "67108864",
        "memory.memsw.limit_in_bytes": "67108864",
    }


def test_limits_as_version_2_has_them() -> None:
    assert written(2, Limits(1500, 1000, 64 << 20)) == {
        "cpu.weight": "39",
        "cpu.max": "150000 100000",
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
    }


def test_a_request_alone_gives_a_weight_and_no_bound() -> None:
    assert [s.file for s in settings(2, "cpu", Limits(cpu_request_milli=1))] == ["cpu.weight"]
    assert [s.file for s in settings(1, "cpu", Limits(cpu_request_milli=1))] == ["cpu.shares"]
    assert settings(1, "cpu", Limits(cpu_milli=1))[-1].content == "1000", "the least quota there is"


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 1\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),
        ("", 0),
    ],
)
def test_kills_for_want_of_memory_are_counted(events: str, count: int) -> None:
    assert oom_kills(events) == count


def container(**limits: str) -> dict[str, object]:
    return {"name": "main", "resources": {"limits": limits, "requests": {"cpu": "100m"}}}


def test_quantities_become_limits() -> None:
    assert limits_of(container(cpu="1500m", memory="1Gi")) == Limits(1500, 100, 1 << 30)
    assert limits_of({"name": "main"}) == Limits()


def test_a_limit_on_cpus_says_how_many_threads_are_of_use() -> None:
    threads = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    assert thread_environment(container(cpu="1500m")) == {"MOTORPOOL_CPU_LIMIT": "1.5", **threads}
    assert thread_environment(container(cpu="100m"))["OMP_NUM_THREADS"] == "1"
    assert thread_environment(container(memory="1Gi")) == {}


# What is done in version 2, on a tree of plain files in its place.


def machine(tmp_path: Path, controllers: str = "cpu memory") -> tuple[Groups, Path]:
    """A process in a group that is neither the top nor delegated by a mark."""
    proc, group = tmp_path / "proc", tmp_path / "fs" / "a.scope"
    proc.mkdir()
    group.mkdir(parents=True)
    (proc / "cgroup").write_text("0::/a.scope\n")
    (proc / "mountinfo").write_text(f"30 24 0:26 / {tmp_path}/fs rw - cgroup2 cgroup2 rw\n")
    (group / "cgroup.controllers").write_text(controllers)
    (group / "cgroup.procs").write_text("")
    (group / "cgroup.type").write_text("domain")
    return Groups(tmp_path, proc), group


def test_a_group_that_passes_its_controllers_on_is_used_as_it_is(tmp_path: Path) -> None:
    groups, group = machine(tmp_path)
    (group / "cgroup.subtree_control").write_text("cpu memory")
    (made,), unlimited = groups.make("u/main/0", Limits(500, 0, 1 << 20))
    assert unlimited == ""
    assert Path(made).name == "u.main.0"
    assert Path(made).parent.parent == group
    assert (Path(made) / "memory.max").read_text() == "1048576"
    assert (Path(made) / "cpu.max").read_text() == "50000 100000"


def test_a_group_that_is_not_ours_is_left_alone_and_the_way_out_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    groups, group = machine(tmp_path)
    made, unlimited = groups.make("u/main/0", Limits(memory_bytes=1 << 20))
    assert made == []
    assert unlimited.startswith(f"memory: the group {group} is not delegated to this user; ")
    assert "systemd-run --user --scope -p Delegate=yes motorpool up" in unlimited
    assert not list(group.glob("*/")), "nothing was made"
    assert groups.make("u/main/1", Limits(cpu_request_milli=100)) == ([], ""), "it bounds nothing"


def test_a_controller_that_the_group_lacks_is_said(tmp_path: Path) -> None:
    groups, group = machine(tmp_path, controllers="cpu")
    (group / "cgroup.subtree_control").write_text("cpu")
    made, unlimited = groups.make("u/main/0", Limits(500, 0, 1 << 20))
    assert len(made) == 1
    assert unlimited == f"memory: the group {group} is not given this controller"


def test_what_needs_no_limit_gets_no_group(tmp_path: Path) -> None:
    assert Groups(tmp_path, tmp_path / "nothing").make("u/main/0", Limits()) == ([], "")
