"""How fast the API is, and what it takes: `make bench-api`, from the root of the repository.

One platform, one client on one connection over TLS, as a client of the API has it. The client only
sends and reads: neither builds nor parses JSON between its clock's ticks.
"""

import argparse
import contextlib
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from tests.platform import Platform, running
from tests.programs import program

from bench.up import Figure, at_most, name, print_table, rss_mb

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/pods/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
OBJECT_BYTES = 2048
WATCHERS = 100
STORED = 10_000
APPLIED = 1_000


class Connection:
    """One connection to the API, kept open."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        self.http = HTTPSConnection(parts.hostname or "", parts.port, context=trust)
        self._token = token

    def ask(self, method: str, path: str, body: bytes = b"", accept: str = "*/*") -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": accept}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        self.http.request(method, path, body or None, headers)
        answer = self.http.getresponse()
        read = answer.read()
        assert answer.status < 300, read
        return read

    def stream(self, path: str) -> Iterator[bytes]:
        self.http.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
        answer = self.http.getresponse()
        while line := answer.readline():
            yield line


def connect(platform: Platform) -> Connection:
    config = yaml.safe_load((platform.data_dir / "kubeconfig").read_text())
    return Connection(platform.endpoints["api"], config["users"][0]["user"]["token"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500, help="of the small requests")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="motorpool-bench-") as directory:
        with running(Path(directory) / "data") as platform:
            figures += small_requests(connect(platform), options.runs)
            figures += lists(connect(platform))
            figures.append(fan_out(platform))
            figures += applies(platform, Path(directory))
        with running(Path(directory) / "large") as platform:
            figures += many_objects(platform)
    if options.output == "json":
        shown = [{"what": f.what, "target": f.target, "measured": f.measured} for f in figures]
        print(json.dumps({"machine": name(), "figures": shown}, indent=1))
    else:
        print_table(figures)


def config_map(map_name: str, *, label: str = "") -> bytes:
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": map_name, "labels": {"of": label or "bench"}},
        "data": {f"key-{n}": "x" * 56 for n in range(OBJECT_BYTES // 64)},
    }
    return json.dumps(obj).encode()


def median_ms(runs: int, act: Callable[[int], object]) -> float:
    """One act more than *runs*: the first opens the connection."""
    taken = []
    for run in range(runs + 1):
        started = time.perf_counter()
        act(run)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:]) * 1000


def small_requests(api: Connection, runs: int) -> list[Figure]:
    bodies = [config_map(f"small-{run}") for run in range(runs + 1)]
    create = median_ms(runs, lambda run: api.ask("POST", MAPS, bodies[run]))
    get = median_ms(runs, lambda run: api.ask("GET", f"{MAPS}/small-{run}"))
    return [
        at_most("create an object of 2 KB, p50, durable", create, 2.0, "ms"),
        at_most("get it, p50", get, 0.7, "ms"),
    ]


def lists(api: Connection) -> list[Figure]:
    api.ask("POST", "/api/v1/namespaces", b'{"metadata":{"name":"pods"}}')
    time.sleep(1)  # until the namespace has its ServiceAccount
    for number in range(1000):
        pod = {
            "metadata": {"name": f"pod-{number}", "labels": {"app": "bench"}},
            # Nobody schedules it, so that it stays as it is.
            "spec": {
                "schedulerName": "nobody",
                "containers": [{"name": "main", "image": "none:1", "env": [{"name": "A"}]}],
            },
        }
        api.ask("POST", PODS, json.dumps(pod).encode())
    plain = median_ms(20, lambda _: api.ask("GET", PODS, accept="application/json"))
    table = median_ms(20, lambda _: api.ask("GET", PODS, accept=TABLE))
    return [
        at_most("list 1,000 pods as JSON", plain, 40.0, "ms"),
        at_most("list 1,000 pods as a Table", table, 25.0, "ms"),
    ]


def fan_out(platform: Platform) -> Figure:
    """From the start of one write to its arrival at the last of the watchers."""
    api = connect(platform)
    api.ask("POST", MAPS, config_map("watched"))
    arrived: list[float] = []
    ready = threading.Barrier(WATCHERS + 1)
    done = threading.Barrier(WATCHERS + 1)
    rounds = 20

    def follow() -> None:
        path = f"{MAPS}?watch=1&fieldSelector=metadata.name%3Dwatched"
        lines = connect(platform).stream(path)
        next(lines)
        for _ in range(rounds):
            ready.wait(30)
            next(lines)
            arrived.append(time.perf_counter())
            done.wait(30)

    for _ in range(WATCHERS):
        threading.Thread(target=follow, daemon=True).start()
    taken = []
    for number in range(rounds):
        ready.wait(30)
        started = time.perf_counter()
        api.ask("PATCH", f"{MAPS}/watched", b'{"data":{"n":"%d"}}' % number)
        done.wait(30)
        taken.append(max(arrived) - started)
        arrived.clear()
    last = statistics.median(taken) * 1000
    return at_most(f"watch: 1 write to {WATCHERS} watchers, the last one", last, 20.0, "ms")


def applies(platform: Platform, directory: Path) -> list[Figure]:
    file = directory / "many.yaml"
    objects = [json.loads(config_map(f"applied-{number}")) for number in range(APPLIED)]
    file.write_text(yaml.safe_dump_all(objects))
    config = yaml.safe_load((platform.data_dir / "kubeconfig").read_text())
    with instant(platform, config["users"][0]["user"]["token"]) as url:
        config["clusters"][0]["cluster"] = {"server": url, "insecure-skip-tls-verify": True}
        other = directory / "instant-kubeconfig"
        other.write_text(yaml.safe_dump(config))
        own = apply_s(platform, file, other)
    ours = apply_s(platform, file, platform.data_dir / "kubeconfig")
    return [
        Figure("kubectl apply of 1,000 objects, server answers at once", "", f"{own:.2f} s", None),
        Figure("kubectl apply of 1,000 objects, here", "", f"{ours:.2f} s", None),
        at_most("  ratio of the two", ours / own, 1.5, "x"),
    ]


def apply_s(platform: Platform, file: Path, kubeconfig: Path) -> float:
    environment = {**platform.environment, "KUBECONFIG": str(kubeconfig)}
    words = [program("kubectl"), "apply", "-f", str(file)]
    warm = [program("kubectl"), "get", "--raw", "/version"]
    subprocess.run(warm, env=environment, check=True, stdout=subprocess.DEVNULL)
    started = time.perf_counter()
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@contextlib.contextmanager
def instant(platform: Platform, token: str) -> Iterator[str]:
    pki = platform.data_dir / "pki"
    words = [sys.executable, "-m", "bench.instant", platform.endpoints["api"], token]
    with subprocess.Popen(
        [*words, str(pki / "serving.crt"), str(pki / "serving.key")],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.terminate()


def many_objects(platform: Platform) -> list[Figure]:
    api = connect(platform)
    for number in range(STORED):
        api.ask("POST", MAPS, config_map(f"stored-{number}"))
    api.ask("GET", f"{MAPS}?limit=500")
    assert platform.process is not None
    memory = rss_mb(platform.process.pid)
    platform.kill()
    started = time.perf_counter()
    platform.start(poll_s=0.005)
    serving = time.perf_counter() - started
    return [
        at_most("memory with 10,000 objects of 2 KB", memory, 250.0, "MB"),
        at_most("start to serving with 10,000 objects", serving, 1.0, "s"),
    ]


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", "src")
    main()
