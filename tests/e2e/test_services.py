"""A pod reaches another InferenceService by its Service: kubectl, Envoy and processes are real."""

import contextlib
import http.client
import json
import socket
import time
import urllib.request

import pytest
import yaml

from tests.platform import eventually, running

pytestmark = pytest.mark.slow

TABLE = """
images:
- match: [script]
  keepCommand: true
"""
ASK = """
import json, os, time, urllib.request
base = f"http://{os.environ['DIGITS_PREDICTOR_SERVICE_HOST']}:$(DIGITS_PREDICTOR_SERVICE_PORT)"
assert os.environ["DIGITS_PREDICTOR_PORT"] == base.replace("http", "tcp")
while True:
    with urllib.request.urlopen(base + "/v2/models/digits/ready", timeout=10) as answer:
        print(answer.status, flush=True)
    time.sleep(0.2)
"""
SERVER = """
import os, socket, threading
name = os.environ["HOSTNAME"]
server = socket.create_server((os.environ["POD_IP"], 9000))
def serve(connection):
    connection.sendall(name.encode() + b"\\n")
    while data := connection.recv(100):
        connection.sendall(data)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def pod(name, script, **fields):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name.partition("-")[0]}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main", "image": "script",
                    "command": ["/bin/sh", "-c", 'exec python3 -c "$0"', script], **fields,
                }
            ],
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def platform(tmp_path_factory, digits):
    data_dir = tmp_path_factory.mktemp("services") / "data"
    data_dir.mkdir()
    (data_dir / "local-images.yaml").write_text(TABLE)
    with running(data_dir, "--no-headless-services") as platform:
        digits(platform)
        yield platform


def apply(platform, *objects):
    platform.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def service_port(platform, name):
    spec = platform.kubectl_json("get", "service", name)["spec"]
    return spec["clusterIP"], spec["ports"][0]["port"]


class Connection:
    """To a SERVER; it says which pod it is at."""

    def __init__(self, address):
        self._socket = socket.create_connection(address, timeout=10)
        try:
            self.name = self._line()
        except OSError:
            self.close()
            raise

    def _line(self):
        line = self._socket.recv(100)
        if not line:
            raise ConnectionResetError("closed at once")
        return line.decode().strip()

    def echoes(self):
        self._socket.sendall(b"x\n")
        return self._line() == "x"

    def close(self):
        self._socket.close()


def reached(address):
    """The pod behind an address, or "" where there is none."""
    with contextlib.suppress(OSError):
        connection = Connection(address)
        connection.close()
        return connection.name
    return ""


def test_a_pod_reaches_an_inference_service_by_its_variables(platform):
    apply(platform, pod("asker", ASK))
    platform.kubectl("wait", "--for=condition=Ready", "pod/asker", "--timeout=30s")
    eventually(lambda: platform.kubectl("logs", "asker").count("200") >= 3)
    seen = platform.kubectl("exec", "asker", "--", "env")
    address, port = service_port(platform, "digits-predictor")
    assert f"DIGITS_PREDICTOR_SERVICE_HOST={address}\n" in seen
    assert f"DIGITS_PREDICTOR_SERVICE_PORT={port}\n" in seen
    assert "KUBERNETES_SERVICE_HOST" not in seen


def test_kill_9_leaves_it_working(platform):
    address, port = service_port(platform, "digits-predictor")
    before = platform.kubectl("logs", "asker").count("200")
    kept = http.client.HTTPConnection(address, port, timeout=10)

    def ready():
        kept.request("GET", "/v2/models/digits/ready")
        answer = kept.getresponse()
        answer.read()
        return answer.status

    assert ready() == 200
    connected = kept.sock
    platform.kill()
    assert ready() == 200
    url = f"http://{address}:{port}/v2/models/digits/ready"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
    platform.start()
    assert ready() == 200
    assert kept.sock is connected
    kept.close()
    eventually(lambda: platform.kubectl("logs", "asker").count("200") > before + 5)
    [status] = platform.kubectl_json("get", "pod", "asker")["status"]["containerStatuses"]
    assert status["restartCount"] == 0


def test_endpoints_change_under_an_open_connection(platform):
    ports = [{"name": "talk", "containerPort": 9000}]
    apply(platform, pod("talker-a", SERVER, ports=ports))
    platform.kubectl("expose", "pod", "talker-a", "--name", "talk", "--port", "7000",
                     "--target-port", "talk", "--selector", "app=talker")  # fmt: skip
    address = service_port(platform, "talk")
    assert address[1] == 7000
    eventually(lambda: reached(address) == "talker-a")
    connection = Connection(address)
    assert connection.name == "talker-a"
    apply(platform, pod("talker-b", SERVER, ports=ports))
    eventually(lambda: reached(address) == "talker-b")
    platform.kubectl("label", "pod", "talker-a", "app=nobodys", "--overwrite")
    eventually(lambda: [reached(address), reached(address)] == ["talker-b"] * 2)
    platform.kubectl("delete", "pod", "talker-b")
    eventually(lambda: reached(address) == "")
    started = time.monotonic()
    assert reached(address) == ""
    assert time.monotonic() - started < 1
    assert connection.echoes()
    connection.close()


def test_endpoints_written_by_hand_are_reached_until_the_service_is_deleted(platform):
    pod_ip = platform.kubectl_json("get", "pod", "talker-a")["status"]["podIP"]
    spec = {"ports": [{"port": 7001, "targetPort": 9000}]}
    subsets = [{"addresses": [{"ip": pod_ip}], "ports": [{"port": 9000}]}]
    apply(
        platform,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hand"}, "spec": spec},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "hand"}, "subsets": subsets},
    )
    address = service_port(platform, "hand")
    eventually(lambda: reached(address) == "talker-a")
    described = platform.kubectl("describe", "service", "hand")
    assert f"{pod_ip}:9000" in described
    platform.kubectl("delete", "service", "hand")

    def refuses():
        try:
            socket.create_connection(address, timeout=10).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(refuses)


def test_the_apis_own_service_answers_with_its_certificate(platform):
    address, port = service_port(platform, "kubernetes")
    version = platform.kubectl(
        "--server", f"https://{address}:{port}", "get", "--raw", "/version"
    )  # fmt: skip
    assert json.loads(version)["major"] == "1"
    endpoints = platform.kubectl_json("get", "endpoints", "kubernetes")["subsets"][0]
    api_port = int(platform.endpoints["api"].rsplit(":", 1)[1])
    assert endpoints["ports"][0]["port"] == api_port


def test_a_platform_with_headless_services_leaves_those_that_have_an_address(platform):
    platform.run("down", "--data-dir", str(platform.data_dir))
    platform.process.wait(30)
    platform.options = ()
    platform.start()
    address, port = service_port(platform, "digits-predictor")
    assert address.startswith("127.")
    platform.kubectl("annotate", "isvc", "digits", "look=again")
    platform.kubectl("wait", "--for=condition=Ready", "isvc/digits", "--timeout=60s")
    url = f"http://{address}:{port}/v2/models/digits/ready"

    def ready():
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status == 200

    eventually(ready)
    assert "NotAccepted" not in platform.kubectl("describe", "isvc", "digits")
