"""kubectl run, attach with stdin, cp and logs: what needs more than one request."""

import os
import subprocess
import time

import pytest

from tests.platform import eventually
from tests.streams.conftest import apply, container, kubectl, phase, pod
from tests.streams.test_exec import terminal

pytestmark = pytest.mark.slow


def test_an_interactive_pod_lives_as_long_as_its_shell(platform, any_kubectl):
    command = ("run", "shell", "--rm", "-it", "--restart=Never", "--image=busybox")
    with terminal(platform, *command, binary=any_kubectl) as shell:
        shell.wait_for("try pressing enter")
        shell.type("\n")
        shell.type("until [ \"$(stty size)\" = '33 101' ]; do sleep 0.1; done\n")
        shell.type("echo at-''home in $HOSTNAME\n")
        shell.wait_for("at-home in shell")
        shell.type("exit 3\n")
        assert shell.wait() == 3
    assert kubectl(platform, "get", "pod", "shell").returncode == 1


def test_a_pod_takes_what_is_piped_into_it(platform, any_kubectl):
    content = b"".join(b"line %d\n" % number for number in range(50_000))
    done = kubectl(
        platform, "run", "filter", "--rm", "-i", "-q", "--restart=Never", "--image=busybox",
        "--", "sh", "-c", "sleep 1; wc -l; echo done",
        binary=any_kubectl, stdin=content,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [b"50000", b"done"], done


def test_the_guides_image_for_requests_is_a_tool_of_this_machine(platform):
    done = kubectl(
        platform, "run", "ask", "--rm", "-i", "-q", "--restart=Never",
        "--image=curlimages/curl:latest", "--", "curl", "--version",
    )  # fmt: skip
    assert done.stdout.startswith(b"curl "), done


def test_clients_come_and_go_and_the_stdin_of_their_container_stays(platform):
    echo = container("main", "/bin/sh", "-c", "while read x; do echo got $x; done", stdin=True)
    apply(platform, pod("echo", echo))
    platform.kubectl("wait", "--for=condition=Ready", "pod/echo", "--timeout=60s")
    for word in (b"one", b"two"):
        client = subprocess.Popen(
            ["kubectl", "attach", "-i", "-q", "echo"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=platform.environment,
        )  # fmt: skip
        client.stdin.write(word + b"\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"got " + word + b"\n"
        client.kill()
        client.communicate()
    assert phase(platform, "echo") == "Running"
    assert kubectl(platform, "logs", "echo").stdout == b"got one\ngot two\n"


def test_a_container_that_never_reads_costs_only_its_client(platform):
    apply(platform, pod("deaf", container("main", "/bin/sh", "-c", "sleep 1000", stdin=True)))
    platform.kubectl("wait", "--for=condition=Ready", "pod/deaf", "--timeout=60s")
    client = subprocess.Popen(
        ["kubectl", "attach", "-i", "deaf"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=platform.environment,
    )  # fmt: skip
    os.set_blocking(client.stdin.fileno(), False)
    sent = 0
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 1:
        try:
            sent += os.write(client.stdin.fileno(), bytes(65536))
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.05)
    client.kill()
    client.communicate()
    assert sent < 32 << 20
    assert kubectl(platform, "exec", "deaf", "--", "echo", "fine").stdout == b"fine\n"


def test_files_are_copied_both_ways(platform, any_kubectl, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "big").write_bytes(os.urandom(3 << 20))
    (tmp_path / "there" / "small").write_text("small")
    copy = ("cp", "-c", "main")
    name = f"tree-{time.monotonic_ns()}"
    done = kubectl(
        platform, *copy, str(tmp_path / "there"), f"web:/data/{name}", binary=any_kubectl
    )
    assert done.returncode == 0, done.stderr
    done = kubectl(platform, *copy, f"web:/data/{name}", str(tmp_path / "back"), binary=any_kubectl)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    for file in ("big", "small"):
        there, back = (tmp_path / where / file for where in ("there", "back"))
        assert there.read_bytes() == back.read_bytes()
    done = kubectl(
        platform, *copy, f"web:/data/{name}/small", str(tmp_path / "one"), binary=any_kubectl
    )
    assert (done.returncode, (tmp_path / "one").read_text()) == (0, "small"), done.stderr


def test_logs_of_a_pod_in_every_form(platform):
    twice = """
        if [ -e /data/second ]; then echo second; sleep 1000; fi
        touch /data/second; echo first"""
    mount = {"name": "d", "mountPath": "/data"}
    apply(
        platform,
        pod(
            "talker",
            container("main", "/bin/sh", "-c", twice, volumeMounts=[mount]),
            container("other", "/bin/sh", "-c", "echo other; sleep 1000"),
            volumes=[{"name": "d", "emptyDir": {}}],
        ),
    )  # fmt: skip

    def logs(*arguments):
        done = kubectl(platform, "logs", *arguments)
        return done.stdout.decode() or done.stderr.decode()

    eventually(lambda: logs("talker", "-c", "main") == "second\n", what="the second run")
    assert logs("talker", "-c", "main", "--previous") == "first\n"
    everything = logs("talker", "--all-containers", "--prefix").splitlines()
    assert sorted(everything) == ["[pod/talker/main] second", "[pod/talker/other] other"]
    assert logs("-l", "app=talker", "-c", "other") == "other\n"
    assert logs("web", "-c", "ticks", "--tail=1").startswith(("tick", "tock"))
    assert len(logs("web", "-c", "ticks", "--since=1s").splitlines()) < 20
    assert logs("talker", "-c", "main", "--since-time=2100-01-01T00:00:00Z") == ""
    assert len(logs("web", "-c", "ticks", "--limit-bytes=10")) == 10
    stamp, word = logs("talker", "-c", "other", "--timestamps").split()
    assert (word, stamp[-1], len(stamp)) == ("other", "Z", 30)
    refused = logs("-f", "-l", "app in (web, talker)", "--all-containers", "--max-log-requests=2")
    assert "you are attempting to follow" in refused
    client = subprocess.Popen(
        ["kubectl", "logs", "-f", "-l", "app in (web, talker)", "--all-containers"],
        stdout=subprocess.PIPE, env=platform.environment,
    )  # fmt: skip
    seen = set()
    while not {"second", "other", "serving", "tick"} <= seen:
        seen.add(client.stdout.readline().decode().split()[0])
    client.kill()
    client.communicate()
