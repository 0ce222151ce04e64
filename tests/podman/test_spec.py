"""What podman is asked for, and what its answers mean, with values alone."""

import pytest

from motorpool.images.reference import Reference
from motorpool.node.accelerators.device import Device
from motorpool.node.accelerators.visibility import Assigned
from motorpool.node.command import ConfigError, Mount
from motorpool.node.engines import as_processes, choose
from motorpool.node.logs import line_of
from motorpool.node.pod import pod_of
from motorpool.node.podman.cdi import specified_kinds
from motorpool.node.podman.observed import (
    address_of,
    is_network_error,
    is_start_error,
    moment,
    oom_kills,
    run_of,
)
from motorpool.node.podman.pulls import credentials_of, image_id, reference_of
from motorpool.node.podman.spec import (
    Image,
    Surrounded,
    container_spec,
    devices_of,
    named_ports,
    pod_spec,
)

CREATED = "2026-01-31T12:00:00.123456789Z"
NEVER = "0001-01-01T00:00:00Z"


def pod(*containers, **spec):
    return {
        "metadata": {"name": "web", "namespace": "ns", "uid": "u-1"},
        "spec": {"containers": list(containers) or [{"name": "main", "image": "x"}], **spec},
    }


def around(**fields):
    plain = {
        "owner": "d1", "pod_id": "p1", "run": 2, "image": Image("sha"), "env": {"A": "1"},
        "mounts": [], "log_path": "/logs/2.log", "grace_s": 30.0,
    }  # fmt: skip
    return Surrounded(**{**plain, **fields})


def made(container, surroundings=None, **spec):
    container = {"name": "main", "image": "x", **container}
    return container_spec(container, pod(container, **spec), surroundings or around())


# A pod.


def test_a_pod_has_a_network_of_its_own_and_says_whose_it_is():
    spec = pod_spec(pod(hostAliases=[{"ip": "10.1.1.1", "hostnames": ["a", "b"]}]), "d1",
                    "bridge", "")  # fmt: skip
    assert spec["labels"] == {
        "motorpool/data-dir": "d1", "io.kubernetes.pod.uid": "u-1",
        "io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "ns",
    }  # fmt: skip
    assert spec["name"] == "web.ns.u-1"
    assert spec["hostname"] == "web"
    assert spec["shared_namespaces"] == ["net", "uts", "ipc"]
    assert spec["hostadd"] == ["a:10.1.1.1", "b:10.1.1.1"]
    assert "netns" not in spec
    assert spec["portmappings"] == []


def test_the_hosts_network_is_asked_for():
    spec = pod_spec(pod(hostNetwork=True), "d1", "bridge", "")
    assert spec["netns"] == {"nsmode": "host"}
    assert spec["shared_namespaces"] == ["net", "ipc"]
    assert "portmappings" not in spec
    assert made({}, hostNetwork=True)["utsns"] == {"nsmode": "host"}


def test_without_a_bridge_every_named_port_is_published_at_the_pods_address():
    container = {
        "name": "main", "image": "x",
        "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
        "readinessProbe": {"httpGet": {"port": 8081}},
        "livenessProbe": {"tcpSocket": {"port": "name"}},
        "lifecycle": {"preStop": {"httpGet": {"port": "8082"}}},
    }  # fmt: skip
    spec = pod_spec(pod(container), "d1", "ports", "127.64.0.5")
    published = {
        (p["host_ip"], p["host_port"], p["container_port"], p["protocol"])
        for p in spec["portmappings"]
    }
    assert published == {
        ("127.64.0.5", number, number, protocol)
        for number, protocol in ((53, "udp"), (80, "tcp"), (8081, "tcp"), (8082, "tcp"))
    }
    assert spec["netns"] == {"nsmode": "slirp4netns"}
    assert named_ports(pod()["spec"]) == set()


# A container.


def test_a_run_is_a_container_with_a_name_nobody_else_takes():
    spec = made({"command": ["run", "$(A)"], "args": ["$$(A)", "$(B)"], "workingDir": "/w/$(A)"})
    assert spec["name"] == "main.2.web.ns.u-1"
    assert spec["labels"]["motorpool/run"] == "u-1/main/2"
    assert (spec["entrypoint"], spec["command"]) == (["run", "1"], ["$(A)", "$(B)"])
    assert spec["work_dir"] == "/w/1"
    assert spec["image"] == "sha"
    assert spec["restart_policy"] == "no"
    assert spec["log_configuration"]["path"] == "/logs/2.log"
    plain = made({})
    assert "entrypoint" not in plain
    assert "command" not in plain


def test_limits_are_the_runtimes():
    resources = {"limits": {"memory": "64Mi", "cpu": "1500m"}, "requests": {"cpu": "250m"}}
    assert made({"resources": resources})["resource_limits"] == {
        "memory": {"limit": 67108864, "swap": 67108864},
        "cpu": {"quota": 150000, "period": 100000, "shares": 256},
    }
    assert made({})["resource_limits"] == {}
    assert "resource_limits" not in made({"resources": resources}, around(limits=False))


def test_mounts_are_read_only_where_they_must_be():
    mounts = [Mount("/a", "/host/a", read_only=True), Mount("/b", "/host/b")]
    assert [m["options"] for m in made({}, around(mounts=mounts))["mounts"]] == [
        ["rbind", "ro"], ["rbind", "rw"],
    ]  # fmt: skip


def test_the_containers_security_context_wins_over_the_pods():
    spec = made(
        {
            "securityContext": {
                "runAsUser": 1000, "privileged": True, "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"add": ["net_admin"], "drop": ["ALL", "CAP_CHOWN"]},
            }
        },
        securityContext={"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
                         "seccompProfile": {"type": "Unconfined"}},
    )  # fmt: skip
    assert (spec["user"], spec["groups"]) == ("1000:2", ["4", "3"])
    assert (spec["privileged"], spec["read_only_filesystem"]) == (True, True)
    assert spec["no_new_privileges"] is True
    assert (spec["cap_add"], spec["cap_drop"]) == (["CAP_NET_ADMIN"], ["ALL", "CAP_CHOWN"])
    assert spec["seccomp_profile_path"] == "unconfined"


@pytest.mark.parametrize(
    ("context", "user", "words"),
    [
        ({"runAsUser": 0}, "1000", "runAsUser breaks non-root policy"),
        ({}, "", "image will run as root"),
        ({}, "app", "non-numeric user \\(app\\)"),
    ],
)
def test_a_container_that_must_not_be_root_is_not(context, user, words):
    given = {"securityContext": {"runAsNonRoot": True, **context}}
    with pytest.raises(ConfigError, match=words):
        made(given, around(image=Image("sha", user)))
    made(given | {"securityContext": {"runAsNonRoot": True, "runAsUser": 5}})
    made({"securityContext": {"runAsNonRoot": True}}, around(image=Image("sha", "1000:1")))


def test_what_podman_cannot_give_is_refused_by_name():
    with pytest.raises(ConfigError, match="seccompProfile of type Localhost"):
        made({"securityContext": {"seccompProfile": {"type": "Localhost"}}})


def test_accelerators_are_passed_as_their_vendor_specifies_or_as_nodes():
    card = Device("nvidia.com/gpu", "GPU-1", 1, "A100", nodes=("/dev/nvidia1", "/dev/nvidiactl"))
    assigned = Assigned((card,))
    assert devices_of(assigned, frozenset()) == ("/dev/nvidia1", "/dev/nvidiactl")
    assert devices_of(assigned, frozenset({"nvidia.com/gpu"})) == ("nvidia.com/gpu=1",)
    assert made({}, around(devices=("/dev/nvidia1",)))["devices"] == [{"path": "/dev/nvidia1"}]


def test_the_vendors_specifications_are_found(tmp_path):
    (tmp_path / "nvidia.yaml").write_text("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: []\n")
    (tmp_path / "amd.json").write_text('{"cdiVersion": "0.5.0", "kind": "amd.com/gpu"}')
    found = specified_kinds((tmp_path, tmp_path / "none"))
    assert found == {"nvidia.com/gpu", "amd.com/gpu"}


# What podman says.


def inspected(status, started=CREATED, finished=NEVER, **state):
    return {
        "Config": {"Labels": {"motorpool/run": "u-1/main/0"}},
        "State": {"Status": status, "StartedAt": started, "FinishedAt": finished, **state},
    }


def test_a_container_that_runs_is_a_run():
    run = run_of(inspected("running", Pid=7))
    assert (run.id, run.pid, run.finished_at, run.exit_code) == ("u-1/main/0", 7, 0.0, None)
    assert run.started_at == moment("2026-01-31T12:00:00.123456Z")


@pytest.mark.parametrize("status", ["exited", "stopped"])
def test_one_that_has_ended_has_a_code_and_perhaps_a_reason(status):
    run = run_of(inspected(status, finished=CREATED, ExitCode=137, OOMKilled=True))
    assert (run.exit_code, run.oom_killed, run.finished_at) == (137, True, run.started_at)


def test_one_that_never_began_is_none_and_one_from_before_a_reboot_ended_unseen():
    assert run_of(inspected("created", started=NEVER)) is None
    run = run_of(inspected("created"))
    assert run.finished_at
    assert run.exit_code is None


def test_errors_of_the_runtime_are_told_apart():
    absent = (
        'runc: runc create failed: unable to start container process: exec: "/nope": stat /nope: '
        "no such file or directory: OCI runtime attempted to invoke a command that was not found"
    )
    assert is_start_error(absent)
    assert is_start_error("crun: executable file `/nope` not found in $PATH: No such file")
    lost = (
        "runc: runc create failed: namespace path: lstat /proc/1/ns/ipc: no such file or directory"
    )
    assert not is_start_error(
        f"{lost}: OCI runtime attempted to invoke a command that was not found"
    )
    assert not is_start_error("netavark: iptables: command not found")
    assert is_network_error("netavark: iptables: command not found")
    assert not is_network_error(absent)


def test_the_kernels_count_is_read_in_both_versions():
    assert oom_kills("low 0\nhigh 0\noom 2\noom_kill 2\n") == 2
    assert oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n") == 0
    assert oom_kills("") == 0


def test_an_address_is_found_in_either_place():
    assert address_of(
        {"NetworkSettings": {"Networks": {"podman": {"IPAddress": "10.88.0.2"}}}}
    ) == ("10.88.0.2")
    assert address_of({"NetworkSettings": {"IPAddress": ""}}) == ""


def test_the_time_of_a_log_line_is_universal():
    line = line_of(b"2026-01-31T01:00:00.123456789+02:00 stdout F x")
    assert line.moment == b"2026-01-30T23:00:00.123456789Z"
    assert line_of(b"2026-01-31T01:00:00.1+00:00 stdout P x").moment == b"2026-01-31T01:00:00.1Z"


# Images.


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("kserve/x:v1", "docker.io/kserve/x:v1"),
        ("localhost/box:1", "localhost/box:1"),
        ("localhost:5000/box", "localhost:5000/box:latest"),
        ("quay.io/a/b:c", "quay.io/a/b:c"),
    ],
)
def test_a_name_without_a_host_is_docker_hubs(name, full):
    assert str(reference_of(name)) == full


def test_credentials_come_from_the_secret_of_the_registry():
    import base64
    import json

    reference = Reference("r.io", "team/x", "1")
    auths = {"r.io/team": {"username": "u", "password": "p"}}
    secret = {
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(json.dumps({"auths": auths}).encode())},
    }
    found = credentials_of(secret, reference)
    assert (found.user, found.password) == ("u", "p")
    assert credentials_of(secret, Reference("r.io", "other/x", "1")) is None


def test_an_image_is_named_by_its_digest_in_the_registry():
    reference = Reference("r.io", "x", "1")
    both = {"Id": "abc", "RepoDigests": ["q.io/x@sha256:1", "r.io/x@sha256:2"]}
    assert image_id(both, reference) == "r.io/x@sha256:2"
    assert image_id({"Id": "abc"}, reference) == "sha256:abc"


# Which engine.


def typed(*images, init=()):
    containers = [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]
    inits = [{"name": f"i{n}", "image": image} for n, image in enumerate(init)]
    return pod_of(pod(*containers, initContainers=inits))


def test_auto_takes_podman_only_for_what_the_table_lacks():
    in_table = {"ovms-image", "storage-initializer"}.__contains__
    assert choose(typed("ovms-image"), "auto", in_table, True) == "process"
    assert choose(typed("ovms-image", "other"), "auto", in_table, True) == "podman"
    assert choose(typed("other"), "auto", in_table, False) == "process"
    assert choose(typed("ovms-image"), "podman", in_table, True) == "podman"
    assert choose(typed("other"), "process", in_table, True) == "process"


def test_what_fetches_a_model_is_a_process_before_a_container_too():
    in_table = {"storage-initializer"}.__contains__
    mixed = typed("other", init=["storage-initializer", "own"])
    assert as_processes(mixed, "auto", in_table) == {"i0"}
    assert as_processes(mixed, "podman", in_table) == set()
