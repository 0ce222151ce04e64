"""exec and port-forward of the official Python client, in a process of its own.

The client leaves sockets to the garbage collector, which would be an error in this one.
"""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAD = """
import json, sys, time
from kubernetes import client, config
from kubernetes.stream import portforward, stream
config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
def execute(*command, **options):
    return stream(core.connect_get_namespaced_pod_exec, "web", "default", container="main",
        command=list(command), **({"stderr": True, "stdout": True} | options))
"""


def result_of(platform, script):
    """What the script leaves in ``result``."""
    pytest.importorskip("kubernetes")
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script + "\nprint(json.dumps(result))",
         str(platform.data_dir / "kubeconfig")],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


def test_exec_gives_the_output(platform):
    script = 'result = execute("sh", "-c", "echo $GREETING", stdin=False, tty=False)'
    assert result_of(platform, script) == "hello\n"


def test_exec_takes_stdin_and_gives_the_exit_code(platform):
    script = """
session = execute("sh", "-c", "read line; echo got $line; echo bad >&2; exit 3", stdin=True,
    tty=False, _preload_content=False)
session.write_stdin("a line\\n")
session.run_forever(timeout=30)
result = session.read_stdout(), session.read_stderr(), session.returncode
"""
    assert result_of(platform, script) == ["got a line\n", "bad\n", 3]


def test_exec_has_a_terminal(platform):
    script = """
session = execute("sh", stdin=True, tty=True, stderr=False, _preload_content=False)
session.write_channel(4, json.dumps({"Width": 90, "Height": 30}))
session.write_stdin("until [ \\"$(stty size)\\" = '30 90' ]; do sleep 0.1; done; exit 4\\n")
session.run_forever(timeout=30)
result = session.returncode
"""
    assert result_of(platform, script) == 4


def test_a_port_is_forwarded(platform):
    script = """
forward = portforward(core.connect_get_namespaced_pod_portforward, "web", "default",
    ports="8081,9999")
connection = forward.socket(8081)
connection.setblocking(True)
content = b"0123456789" * 100_000
import threading
threading.Thread(target=connection.sendall, args=(content,), daemon=True).start()
answer = b""
while len(answer) < len(content):
    answer += connection.recv(65536)
result = answer == content, forward.error(8081), forward.error(9999)
"""
    same, fine, refused = result_of(platform, script)
    assert same
    assert fine is None
    assert "failed to connect to port 9999 of pod web: " in refused
