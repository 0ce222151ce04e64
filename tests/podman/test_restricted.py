"""A machine on which podman cannot make networks."""

import urllib.request

import pytest

from tests.platform import running
from tests.podman.conftest import apply, box, events, pod, wait
from tests.registry import registry  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

NETAVARK = """#!/bin/sh
echo '{"error": "iptables: Operation not permitted"}'
exit 1
"""


@pytest.fixture
def platform(tmp_path_factory, world, monkeypatch):
    directory = tmp_path_factory.mktemp("restricted")
    (directory / "netavark").write_text(NETAVARK)
    (directory / "netavark").chmod(0o755)
    helpers = [str(directory), "/usr/libexec/podman", "/usr/lib/podman"]
    conf = directory / "containers.conf"
    conf.write_text(f'[engine]\nhelper_binaries_dir = {helpers!r}\n[network]\n'
                    'network_backend = "netavark"\n')  # fmt: skip
    monkeypatch.setenv("CONTAINERS_CONF", str(conf))
    with running(directory / "data", "--engine", "podman") as platform:
        yield platform


def test_without_a_bridge_a_pod_serves_at_a_loopback_address(platform, world):
    script = "echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"
    container = box(
        world, script, ports=[{"containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/", "port": 8080}},
    )  # fmt: skip
    apply(platform, pod("web", container))
    wait(platform, "web")
    address = platform.kubectl_json("get", "pod", "web")["status"]["podIP"]
    assert address.startswith("127.")
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=10) as answer:
        assert answer.read() == b"hello\n"
    [node] = platform.kubectl_json("get", "nodes")["items"]
    told = [event for event in events(platform, node["metadata"]["name"]) if "networks" in event]
    assert len(told) == 1
    assert "iptables: Operation not permitted" in told[0]
