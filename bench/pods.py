"""What pods cost: a model server's start to Ready, forked and cold, and a fleet of them at once.

Run from the root of the repository: ``python -m bench.pods start|fleet``; `make bench` runs both.
`fleet` applies InferenceServices, by one kubectl, and waits until the last is Ready; the memory is
what each model server holds that no other process does (USS), and its fair share (PSS).
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.platform import Platform, running
from tests.programs import program

from motorpool.api import conditions, core, serving
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.client.http import HttpClient

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits"
SETTLE_S = 5
FLEET = 200
FLEET_TIMEOUT_S = 600
COLD_IMAGE = "cold-model-server"
TABLE = f"""
images:
- match: [{COLD_IMAGE}]
  command: ["{{python}}", -m, motorpool.modelserver]
  bindFlags: [--rest_bind_address, --grpc_bind_address]
"""


def build(platform: Platform) -> None:
    built = platform.run("modelcar", "build", str(DIGITS / "model"), "-t", "localhost/digits:1")
    assert built.returncode == 0, built.stderr


def model_pod(name: str, image: str) -> Object:
    """The example model behind a model server, with the probe that InferenceServices have."""
    probe = {"httpGet": {"path": "/v2/health/ready", "port": 8888}}
    container = {
        "name": "server",
        "image": image,
        "args": ["--model_name=digits", "--rest_port=8888", "--model_path=/mnt/models"],
        "readinessProbe": probe,
        "volumeMounts": [{"name": "model", "mountPath": "/mnt/models", "subPath": "models"}],
    }
    reference = {"reference": "localhost/digits:1", "pullPolicy": "IfNotPresent"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [{"name": "model", "image": reference}],
        },
    }


async def start_to_ready(
    kubeconfig: Path, image: str, runs: int, make: Callable[[str, str], Object] = model_pod
) -> list[float]:
    """From the creation of a Pod to Ready=True in a watch, in seconds, for each of some Pods."""
    seconds = []
    async with HttpClient.from_kubeconfig(kubeconfig) as client:
        for run in range(runs):
            name = f"{image.rpartition('/')[2].partition(':')[0]}-{run}"
            watching = asyncio.create_task(_ready(client, core.POD, {name}))
            await asyncio.sleep(0.1)
            started = time.monotonic()
            await client.create(core.POD, make(name, image))
            await asyncio.wait_for(watching, 60)
            seconds.append(time.monotonic() - started)
            await client.delete(core.POD, "default", name)
    return seconds


async def _ready(client: HttpClient, kind: Kind, names: set[str]) -> None:
    """Returns once all of them are Ready."""
    left = set(names)
    listed = await client.list(kind, "default")
    for obj in listed.items:
        if conditions.is_true(obj, "Ready"):
            left.discard(obj["metadata"]["name"])
    async for event in client.watch(kind, "default", after=listed.resource_version):
        if conditions.is_true(event.object, "Ready"):
            left.discard(event.object["metadata"]["name"])
        if not left:
            return


async def fleet_to_ready(platform: Platform, count: int) -> float:
    """From exec of ``kubectl apply`` of so many InferenceServices to the last one's Ready=True."""
    manifest = (DIGITS / "manifests" / "inferenceservice.yaml").read_text()
    names = [f"fleet-{number:03}" for number in range(count)]
    text = "---\n".join(manifest.replace("name: digits\n", f"name: {name}\n") for name in names)
    kubeconfig = platform.data_dir / "kubeconfig"
    async with HttpClient.from_kubeconfig(kubeconfig) as client:
        watching = asyncio.create_task(_ready(client, serving.INFERENCE_SERVICE, set(names)))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        await asyncio.to_thread(platform.kubectl, "apply", "-f", "-", stdin=text)
        await asyncio.wait_for(watching, FLEET_TIMEOUT_S)
        return time.monotonic() - started


def memory_mb(pids: set[int]) -> tuple[list[float], list[float]]:
    """USS and PSS of each process, the smallest first."""
    own, shares = [], []
    for pid in pids:
        found = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, amount = line.split(":")
            found[name] = int(amount.split()[0]) / 1000
        own.append(found["Private_Clean"] + found["Private_Dirty"])
        shares.append(found["Pss"])
    return sorted(own), sorted(shares)


def servers(platform: Platform) -> set[int]:
    """The processes of Pods, by the supervisor's records."""
    records = (platform.data_dir / "pods").glob("*/run/*.json")
    return {json.loads(path.read_text())["pid"] for path in records}


def measure_starts(platform: Platform, runs: int) -> dict[str, float]:
    kubeconfig = platform.data_dir / "kubeconfig"
    images = {"forked": "ovms-image", "cold": COLD_IMAGE}
    return {
        name: statistics.median(asyncio.run(start_to_ready(kubeconfig, image, runs)))
        for name, image in images.items()
    }


def measure_fleet(platform: Platform, count: int) -> dict[str, float]:
    runtime = str(DIGITS / "manifests" / "servingruntime.yaml")
    platform.kubectl("apply", "-f", runtime)
    seconds = asyncio.run(fleet_to_ready(platform, count))
    own, shares = memory_mb(servers(platform))
    return {
        "count": count,
        "seconds": seconds,
        "uss_mb": statistics.median(own),
        "uss_most_mb": own[-1],
        "pss_mb": statistics.median(shares),
        "servers": len(own),
    }


def prepare(data_dir: Path) -> None:
    """The table in which the cold server's image stands."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "local-images.yaml").write_text(TABLE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["start", "fleet"])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--count", type=int, default=FLEET)
    options = parser.parse_args()
    program("kubectl")
    with tempfile.TemporaryDirectory(prefix="motorpool-bench-") as directory:
        data_dir = Path(directory) / "data"
        prepare(data_dir)
        with running(data_dir) as platform:
            build(platform)
            time.sleep(SETTLE_S)
            if options.what == "start":
                figures = measure_starts(platform, options.runs)
            else:
                figures = measure_fleet(platform, options.count)
            load = os.getloadavg()[0]
    for name, value in figures.items():
        print(f"{name:12} {value:8.2f}")
    print(f"load average at the end {load:.1f}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        sys.exit(str(error))
