"""Measures what protection costs: the same model past its proxy and through it, side by side.

python -m bench.protected [ROUNDS]
"""

import json
import socket
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.conftest import DIGITS
from tests.platform import Platform, eventually, running

ANNOTATION = "security.opendatahub.io/enable-auth=true"
PATH = "/v2/models/digits/infer"
REQUESTS = 2000
LARGE = 64 << 20
IDLE_S = 60
TENSOR = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8, 1], "data": [0.5] * 64}


def connected(address, context):
    plain = socket.create_connection(address)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain) if context else plain


def ask(connection, message):
    """Sends it and reads one answer; its status."""
    connection.sendall(message)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1])


def message(body, token=""):
    lines = [f"POST {PATH} HTTP/1.1", "host: x", "content-type: application/json"]
    lines += [f"authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def p50_ms(address, context, token):
    taken, asked = [], message(json.dumps({"inputs": [TENSOR]}).encode(), token)
    with connected(address, context) as connection:
        for _ in range(REQUESTS):
            begun = time.perf_counter()
            assert ask(connection, asked) == 200
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


def large_s(address, context, token):
    """A body that the model refuses once it has read all of it."""
    with connected(address, context) as connection:
        begun = time.perf_counter()
        assert ask(connection, message(b"x" * LARGE, token)) in (400, 412)
        return time.perf_counter() - begun


def of_proxy(platform):
    """Its processes: those of the check, the fork server among them, and Envoy."""
    found = {}
    for pid in platform.model_servers():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        if "authproxy" in words or "/_bin/envoy" in words:
            found[pid] = "envoy" if "/_bin/envoy" in words else "check, or its fork server"
    return found


def private_mb(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def cpu_ticks(pids):
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields)


def serve(platform: Platform) -> str:
    """The address of the protected pod."""
    platform.run("modelcar", "build", str(DIGITS / "model"), "-t", "localhost/digits:1")
    platform.kubectl("apply", "-f", str(DIGITS / "manifests"))
    platform.kubectl("annotate", "isvc", "digits", ANNOTATION)

    def pods():
        items = platform.kubectl_json("get", "pods")["items"]
        ready = [p for p in items if all(c["ready"] for c in p["status"]["containerStatuses"])]
        return ready if len(items) == 1 and len(items[0]["spec"]["containers"]) == 2 else []

    return str(eventually(pods, deadline_s=60)[0]["status"]["podIP"])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with running(Path(tempfile.mkdtemp()) / "data") as platform:
        host = serve(platform)
        for right in ("role", "reader", "--verb=get",
                      "--resource=inferenceservices.serving.kserve.io"), (
                      "rolebinding", "reader", "--role=reader",
                      "--serviceaccount=default:default"):  # fmt: skip
            platform.kubectl("create", *right)
        token = platform.kubectl("create", "token", "default").strip()
        context = ssl.create_default_context(cafile=str(platform.data_dir / "pki" / "ca.crt"))
        context.check_hostname = False
        past, through = ((host, 8888), None, ""), ((host, 8443), context, token)
        for measure, unit in ((p50_ms, "ms"), (large_s, "s")):
            pairs = [(measure(*past), measure(*through)) for _ in range(rounds)]
            without, with_it = (statistics.median(each) for each in zip(*pairs, strict=True))
            print(f"{measure.__name__}: {without:.3f} {unit} past it, {with_it:.3f} through it")
        time.sleep(10)
        found = of_proxy(platform)
        for pid, what in found.items():
            print(f"{private_mb(pid):.1f} MB private: {what}")
        before = cpu_ticks(found)
        time.sleep(IDLE_S)
        print(f"idle: {(cpu_ticks(found) - before) / IDLE_S:.2f} % of a core")


if __name__ == "__main__":
    main()
