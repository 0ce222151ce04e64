"""kubectl looks into a container: logs, exec, attach, cp, port-forward, top."""

import contextlib
import os
import pty
import re
import select
import socket
import subprocess
import time

import pytest

from tests.platform import eventually
from tests.podman.conftest import apply, box, pod, wait
from tests.programs import program
from tests.registry import registry  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

SCRIPT = """
echo inside > /www/index.html
httpd -p 127.0.0.1:8081 -h /www
while read line; do echo "got $line"; echo "err $line" >&2; done
echo input is over; exec sleep 1000
"""


@pytest.fixture(scope="module")
def lens(platform, world):
    apply(platform, pod("lens", box(world, SCRIPT, stdin=True)))
    wait(platform, "lens")
    yield "lens"
    platform.kubectl("delete", "pod", "lens", "--wait=false")


def kubectl(platform, *words, stdin=None):
    return subprocess.run(
        [program("kubectl"), *words], env=platform.environment, input=stdin, text=True,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_exec_carries_streams_and_exit_codes(platform, lens):
    done = kubectl(
        platform, "exec", "-i", lens, "--", "sh", "-c", "cat; echo problem >&2; exit 5",
        stdin="a word",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, "a word")
    assert "problem" in done.stderr
    assert kubectl(platform, "exec", lens, "--", "sh", "-c", "kill -9 $$").returncode == 137
    absent = kubectl(platform, "exec", lens, "--", "/no/such/program")
    assert absent.returncode != 0
    assert "/no/such/program" in absent.stderr


def test_exec_on_a_terminal_knows_its_size(platform, lens):
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [program("kubectl"), "exec", "-it", lens, "--", "sh"],
        stdin=follower, stdout=follower, stderr=follower, env=platform.environment,
    ) as process:  # fmt: skip
        os.close(follower)
        os.write(leader, b"stty size; tty; exit 3\n")
        seen = b""
        with contextlib.suppress(OSError):
            while select.select([leader], [], [], 10)[0]:
                seen += os.read(leader, 4096)
        assert process.wait(60) == 3
    os.close(leader)
    assert b"/dev/pts/" in seen


def test_a_big_stream_arrives_whole(platform, lens):
    command = "dd if=/dev/zero bs=1M count=16 2>/dev/null | tr '\\0' x"
    done = kubectl(platform, "exec", lens, "--", "sh", "-c", command)
    assert len(done.stdout) == 16 * 1024 * 1024


def test_attach_talks_to_the_program_itself(platform, lens):
    with subprocess.Popen(
        [program("kubectl"), "attach", "-i", lens], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env=platform.environment, text=True,
    ) as process:  # fmt: skip
        process.stdin.write("word\n")
        process.stdin.flush()
        assert process.stdout.readline() == "got word\n"
        process.kill()
    eventually(lambda: "got word" in platform.kubectl("logs", lens))


def test_files_are_copied_both_ways(platform, lens, tmp_path):
    (tmp_path / "there").write_text("content")
    platform.kubectl("cp", str(tmp_path / "there"), f"{lens}:/tmp/there")
    assert platform.kubectl("exec", lens, "--", "cat", "/tmp/there") == "content"
    platform.kubectl("cp", f"{lens}:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "content"


def test_a_port_of_the_pod_is_forwarded_even_from_its_own_loopback(platform, lens):
    with subprocess.Popen(
        [program("kubectl"), "port-forward", f"pod/{lens}", ":8081"], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=platform.environment, text=True,
    ) as process:  # fmt: skip
        line = process.stdout.readline()
        port = int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        process.terminate()
    assert answer.endswith(b"inside\n")


def test_logs_are_followed_cut_and_stamped(platform, world):
    script = "for n in 1 2 3; do echo out $n; echo err $n >&2; sleep 0.3; done"
    apply(platform, pod("talker", box(world, script), restartPolicy="Never"))
    wait(platform, "talker", "jsonpath={.status.phase}=Succeeded")
    assert len(platform.kubectl("logs", "-f", "talker").splitlines()) == 6
    [last] = platform.kubectl("logs", "talker", "--tail=1", "--timestamps").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (out|err) 3", last)
    assert platform.kubectl("logs", "talker", "--since=1h") != ""
    time.sleep(1.1)
    assert platform.kubectl("logs", "talker", "--since=1s") == ""


def test_a_long_log_is_rotated_and_read_as_one(platform, world):
    script = (
        "yes 'a line of a log that is rather long, as lines of logs are' | head -n 120000; "
        "echo the end; sleep 1000"
    )
    apply(platform, pod("long", box(world, script)))
    wait(platform, "long")
    uid = platform.kubectl_json("get", "pod", "long")["metadata"]["uid"]
    logs = platform.data_dir / "pods" / uid / "logs" / "main"
    eventually(lambda: (logs / "0.log.1").exists(), deadline_s=60)
    eventually(lambda: "the end" in platform.kubectl("logs", "long", "--tail=1"))
    assert len(platform.kubectl("logs", "long").splitlines()) == 120_001
    platform.kubectl("exec", "long", "--", "sh", "-c", "echo after > /proc/1/fd/1")
    eventually(lambda: platform.kubectl("logs", "long", "--tail=1") == "after\n")
    platform.kubectl("delete", "pod", "long", "--wait=false")


def test_top_shows_what_a_container_uses(platform, world):
    apply(platform, pod("busy", box(world, "while :; do :; done")))
    wait(platform, "busy")

    def used():
        done = kubectl(platform, "top", "pod", "busy", "--no-headers")
        found = re.search(r"busy\s+(\d+)m", done.stdout)
        return found and int(found[1]) >= 50

    eventually(used, deadline_s=60)
    platform.kubectl("delete", "pod", "busy", "--wait=false")
