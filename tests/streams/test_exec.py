"""kubectl exec, with every kubectl that is here: over WebSocket from 1.30, over SPDY before."""

import contextlib
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from fcntl import ioctl

import pytest

from tests.platform import eventually
from tests.streams.conftest import apply, container, gone, kubectl, pod

pytestmark = pytest.mark.slow


def test_a_command_runs_in_the_environment_of_its_container(platform, any_kubectl):
    script = 'echo "$GREETING"; echo oops >&2; cd /data; touch made; ls made; test -d "${WHERE%/*}"'
    command = ("exec", "web", "-c", "main", "--", "sh", "-c", script)
    done = kubectl(platform, *command, binary=any_kubectl)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"hello\nmade\n"
    assert b"oops\n" in done.stderr


@pytest.mark.parametrize("code", [1, 7, 255])
def test_the_exit_code_is_the_commands(platform, any_kubectl, code):
    done = kubectl(
        platform, "exec", "web", "-c", "main", "--", "sh", "-c", f"exit {code}", binary=any_kubectl
    )
    assert done.returncode == code
    assert f"command terminated with exit code {code}".encode() in done.stderr


def test_a_signal_shows_as_its_exit_code(platform):
    done = kubectl(platform, "exec", "web", "-c", "main", "--", "sh", "-c", "kill -TERM $$")
    assert done.returncode == 143


def test_stdin_reaches_the_command_and_ends(platform, any_kubectl):
    done = kubectl(
        platform, "exec", "-i", "web", "-c", "main", "--", "sort",
        binary=any_kubectl, stdin=b"b\nc\na\n",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"a\nb\nc\n"), done.stderr


def test_a_program_that_is_not_there_is_named(platform, any_kubectl):
    done = kubectl(platform, "exec", "web", "-c", "main", "--", "nothing", binary=any_kubectl)
    assert done.returncode != 0
    assert b'exec: "nothing": executable file not found in $PATH' in done.stderr


def test_refusals_are_the_api_servers_own(platform):
    done = kubectl(platform, "exec", "nobody", "--", "true")
    assert b'pods "nobody" not found' in done.stderr
    done = kubectl(platform, "exec", "web", "-c", "nobody", "--", "true")
    assert b"container nobody is not valid for pod web" in done.stderr
    done = kubectl(platform, "exec", "web", "-c", "main", "--as=nobody", "--", "true")
    assert b'User "nobody" cannot' in done.stderr
    path = "/api/v1/namespaces/default/pods/web/exec?container=main"
    done = kubectl(platform, "get", "--raw", path)
    assert b"you must specify at least 1 of stdin, stdout, stderr" in done.stderr


def memory_mb(pid):
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def test_a_hundred_megabytes_go_both_ways_in_bounded_memory(platform):
    before = memory_mb(platform.process.pid)
    content = os.urandom(1 << 20) * 100
    done = kubectl(
        platform, "exec", "-i", "web", "-c", "main", "--", "cat", stdin=content, timeout_s=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == content
    assert memory_mb(platform.process.pid) - before < 60


class Terminal:
    """A kubectl on a terminal of its own."""

    def __init__(self, platform, *arguments, binary="kubectl"):
        self.ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        self.process = subprocess.Popen(
            [binary, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
            env=platform.environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.seen = b""

    def type(self, text):
        os.write(self.ours, text.encode())

    def wait_for(self, text, timeout_s=60):
        """Everything up to *text*, which is taken."""
        deadline = time.monotonic() + timeout_s
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            if select.select([self.ours], [], [], left)[0]:
                try:
                    self.seen += os.read(self.ours, 65536)
                except OSError:
                    raise AssertionError(f"ended without {text!r}: {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode()

    def wait(self):
        return self.process.wait(60)


@contextlib.contextmanager
def terminal(platform, *arguments, binary="kubectl"):
    opened = Terminal(platform, *arguments, binary=binary)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()
        os.close(opened.ours)


def test_a_terminal_has_a_size_a_prompt_and_job_control(platform, any_kubectl):
    command = ("exec", "-it", "web", "-c", "main", "--", "sh")
    with terminal(platform, *command, binary=any_kubectl) as shell:
        shell.wait_for("# " if os.getuid() == 0 else "$ ")
        shell.type("until [ \"$(stty size)\" = '33 101' ]; do sleep 0.1; done\n")
        shell.type("tty >/dev/null && echo is-a-''tty\n")
        shell.wait_for("is-a-tty")
        ioctl(shell.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.kill(shell.process.pid, signal.SIGWINCH)
        shell.type("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo re''sized\n")
        shell.wait_for("resized")
        shell.type("sh -c \"echo a''sleep; exec sleep 1000\"; echo woken-$?\n")
        shell.wait_for("asleep")
        shell.type("\x03")
        shell.type("echo in''terrupted\n")
        shell.wait_for("interrupted")
        shell.type("exit 5\n")
        assert shell.wait() == 5


def test_a_command_ends_with_its_client(platform, any_kubectl):
    client = subprocess.Popen(
        [any_kubectl, "exec", "web", "-c", "main", "--", "sh", "-c", "echo $$; exec sleep 1000"],
        stdout=subprocess.PIPE, env=platform.environment,
    )  # fmt: skip
    pid = int(client.stdout.readline())
    client.kill()
    client.wait()
    client.stdout.close()
    gone(pid)


def test_what_a_command_leaves_behind_ends_with_it(platform):
    script = "sleep 1000 & echo $!"
    done = kubectl(platform, "exec", "web", "-c", "main", "--", "sh", "-c", script)
    assert done.returncode == 0
    gone(int(done.stdout))


def test_a_command_ends_with_its_container(platform):
    apply(platform, pod("brief", container("main", "/bin/sh", "-c", "sleep 1000")))
    platform.kubectl("wait", "--for=condition=Ready", "pod/brief", "--timeout=60s")
    client = subprocess.Popen(
        ["kubectl", "exec", "brief", "--", "sh", "-c", "echo $$; exec sleep 1000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=platform.environment,
    )  # fmt: skip
    pid = int(client.stdout.readline())
    platform.kubectl("delete", "pod", "brief")
    assert client.wait(60) == 137
    client.stdout.close()
    client.stderr.close()
    gone(pid)


def test_many_commands_at_once_do_not_disturb_each_other(platform):
    clients = [
        subprocess.Popen(
            ["kubectl", "exec", "web", "-c", "main", "--", "echo", str(number)],
            stdout=subprocess.PIPE, env=platform.environment,
        )
        for number in range(10)
    ]  # fmt: skip
    found = [client.communicate(timeout=60)[0] for client in clients]
    assert found == [f"{number}\n".encode() for number in range(10)]


def test_attach_shows_what_a_container_writes_from_now_on(platform, any_kubectl):
    client = subprocess.Popen(
        [any_kubectl, "attach", "web", "-c", "ticks"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=platform.environment,
    )  # fmt: skip
    first = eventually(client.stdout.readline)
    second = client.stdout.readline()
    errors = [client.stderr.readline() for _ in range(3)]
    client.kill()
    client.wait()
    client.stdout.close()
    client.stderr.close()
    assert first.startswith(b"tick "), first
    assert int(second.split()[1]) == int(first.split()[1]) + 1
    assert any(line.startswith(b"tock ") for line in errors)
