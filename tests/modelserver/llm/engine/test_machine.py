"""What the control groups leave of the machine."""

import pytest

from motorpool.modelserver.llm.engine import machine

ROOT = "0::/pods/one\n"


@pytest.fixture
def groups(tmp_path):
    """Writes files of control groups and gives the groups of a member of /pods/one."""

    def write(files, membership=ROOT):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "membership").write_text(membership)
        return list(machine._groups(tmp_path / "membership", tmp_path / "cgroup"))

    return write


def test_without_limits_all_cores_of_the_affinity_are_ours(groups):
    assert machine.cores({}, 6, groups({"pods/one/cpu.max": "max 100000\n"})) == 6


def test_the_tightest_quota_on_the_way_to_the_root_counts(groups):
    found = groups({"pods/one/cpu.max": "400000 100000\n", "pods/cpu.max": "150000 100000\n"})
    assert machine.cores({}, 8, found) == 1.5


def test_version_1_says_it_in_two_files(groups):
    files = {"cpu/pods/one/cpu.cfs_quota_us": "50000", "cpu/pods/one/cpu.cfs_period_us": "100000"}
    files |= {"memory/pods/one/memory.limit_in_bytes": str(2**20)}
    found = groups(files, "4:memory:/pods/one\n3:cpu,cpuacct:/pods/one\n")
    assert machine.cores({}, 8, found) == 0.5
    assert machine.memory(found) == 2**20


@pytest.mark.parametrize(("told", "cores"), [("1.5", 1.5), ("64", 4), ("", 4), ("many", 4)])
def test_the_node_may_tell_a_limit_of_its_own(groups, told, cores):
    assert machine.cores({"MOTORPOOL_CPU_LIMIT": told}, 4, groups({})) == cores


def test_memory_is_what_the_tightest_group_allows(groups):
    found = groups({"pods/one/memory.max": "max\n", "pods/memory.max": "1073741824\n"})
    assert machine.memory(found) == 1024**3


@pytest.mark.parametrize(("cores", "threads"), [(0.2, 1), (1.4, 1), (1.5, 2), (2, 2), (7.9, 8)])
def test_a_thread_for_each_core_and_what_is_more_than_half_of_one(cores, threads):
    assert machine.threads(None, machine.Machine(cores, 1)) == threads
    assert machine.threads(3, machine.Machine(cores, 1)) == 3
