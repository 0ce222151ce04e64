"""kubectl port-forward: SPDY in a WebSocket from 1.31, raw SPDY before."""

import concurrent.futures
import contextlib
import re
import socket
import subprocess

import pytest

from tests.streams.conftest import kubectl

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def forwarded(platform, *arguments, binary="kubectl"):
    """The local port, and the client."""
    client = subprocess.Popen(
        [binary, "port-forward", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=platform.environment,
    )  # fmt: skip
    try:
        line = client.stdout.readline().decode()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, (line, client.stderr.read())
        yield int(found[1]), client
    finally:
        client.terminate()
        client.wait()
        client.stdout.close()
        client.stderr.close()


def asked(port, content, timeout_s=60):
    """Sends all, ends its side, and gives what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_one_side_may_end_before_the_other(platform, any_kubectl):
    with forwarded(platform, "pod/web", ":8080", binary=any_kubectl) as (port, _):
        assert asked(port, b"hello") == b"HELLO"
        content = b"x" * (8 << 20)
        assert asked(port, content) == content.upper()


def test_fifty_connections_at_once(platform, any_kubectl):
    with forwarded(platform, "pod/web", ":8080", binary=any_kubectl) as (port, _):
        contents = [f"request {number} ".encode() * 5000 for number in range(50)]
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda content: asked(port, content), contents))
    assert answers == [content.upper() for content in contents]


def test_a_port_that_nobody_listens_on_is_named(platform, any_kubectl):
    with forwarded(platform, "pod/web", ":9999", binary=any_kubectl) as (port, client):
        # Hung up on, at whatever moment.
        with contextlib.suppress(OSError):
            assert asked(port, b"hello") == b""
        line = client.stderr.readline().decode()
    assert "failed to connect to port 9999 of pod web: " in line
    assert "refused" in line.lower()


def test_services_and_named_ports_are_resolved(platform):
    made = kubectl(platform, "expose", "pod", "web", "--port=80", "--target-port=http")
    assert made.returncode == 0, made.stderr
    with forwarded(platform, "svc/web", ":80") as (port, _):
        assert asked(port, b"by service") == b"BY SERVICE"


def test_the_port_of_a_headless_service_leads_to_its_target(platform):
    """As KServe's Services are; kubectl then asks the Pod for the Service's own port."""
    made = kubectl(
        platform, "expose", "pod", "web", "--name=bare", "--port=81", "--target-port=http",
        "--cluster-ip=None",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    with forwarded(platform, "svc/bare", ":81") as (port, _):
        assert asked(port, b"by service") == b"BY SERVICE"
