"""What a machine keeps podman from, and the settings that work around it."""

import tomllib

from motorpool.node.podman.restrictions import Facts, merged, restrictions, toml_of

HELPERS = frozenset({"crun", "runc", "netavark", "iptables", "slirp4netns"})


def facts(**fields):
    free = {
        "is_root": True, "may_raise_limits": True, "nofile": 4096, "nproc": 1000,
        "is_hybrid": False, "groups_writable": True, "programs": HELPERS,
    }  # fmt: skip
    return Facts(**{**free, **fields})


def test_a_machine_without_restrictions_needs_nothing():
    found = restrictions(facts())
    assert not found.needs_own_service
    assert (found.words, found.limits, found.bridge) == ((), True, True)


def test_limits_that_may_not_be_raised_become_the_defaults():
    found = restrictions(facts(may_raise_limits=False))
    assert found.settings == {
        "containers": {"default_ulimits": ["nofile=4096:4096", "nproc=1000:1000"]}
    }
    assert "CAP_SYS_RESOURCE" in found.words[0]
    assert not restrictions(facts(may_raise_limits=False, is_root=False)).settings


def test_hybrid_control_groups_are_for_runc():
    found = restrictions(facts(is_hybrid=True))
    assert found.settings == {"engine": {"runtime": "runc"}}
    assert restrictions(facts(is_hybrid=True, runtime="runc")).settings == {}
    without = restrictions(facts(is_hybrid=True, programs=HELPERS - {"runc"}))
    assert "install runc" in without.words[0]


def test_control_groups_that_cannot_be_written_are_done_without():
    found = restrictions(facts(groups_writable=False))
    assert found.settings == {"containers": {"cgroups": "disabled"}}
    assert not found.limits
    assert "not enforced" in found.words[0]
    assert len(found.words) == 1
    hopeless = restrictions(facts(groups_writable=False, is_hybrid=True))
    assert "containers will not start" in hopeless.words[1]


def test_without_root_or_a_bridge_ports_are_published():
    for restricted in (
        facts(is_root=False),
        facts(programs=HELPERS - {"netavark"}),
        facts(programs=HELPERS - {"iptables"}),
    ):
        found = restrictions(restricted)
        assert not found.bridge
        assert "loopback" in found.words[-1]
        assert not found.needs_own_service


def test_settings_are_added_to_the_users_and_written_as_toml():
    base = {
        "containers": {"env": ['A="b"'], "init": True},
        "engine": {"runtimes": {"kata": ["/usr/bin/kata"]}, "num_locks": 5},
    }
    both = merged(base, {"containers": {"cgroups": "disabled"}})
    assert tomllib.loads(toml_of(both)) == {
        "containers": {"env": ['A="b"'], "init": True, "cgroups": "disabled"},
        "engine": {"runtimes": {"kata": ["/usr/bin/kata"]}, "num_locks": 5},
    }
    assert base["containers"] == {"env": ['A="b"'], "init": True}
