"""What a pod in podman costs: from its creation to Ready in a watch, its image being there.

Run from the root of the repository: ``python -m bench.podman``; `make bench` runs it too, where
podman is installed. The image is busybox, made from scratch, in a storage of its own.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path

from tests.platform import running
from tests.podman.boxes import build, own_storage

from bench.pods import start_to_ready
from motorpool.api.meta import Object


def web_pod(name: str, image: str) -> Object:
    container = {
        "name": "main",
        "image": image,
        "command": ["httpd", "-f", "-p", "8080", "-h", "/www"],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def measure(directory: Path, runs: int) -> dict[str, float]:
    """Seconds of the first start and of the others' median; podman's service in MB."""
    (directory / "image").mkdir()
    with own_storage():
        image = build(directory / "image")
        with running(directory / "data", "--engine", "podman") as platform:
            kubeconfig = platform.data_dir / "kubeconfig"
            first, *others = asyncio.run(start_to_ready(kubeconfig, image, runs + 1, web_pod))
            service = json.loads((platform.data_dir / "podman" / "service.json").read_text())
            return {
                "first": first,
                "start": statistics.median(others),
                "service_mb": resident_mb(int(service["pid"])),
            }


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="motorpool-bench-") as directory:
        print(json.dumps(measure(Path(directory), options.runs), indent=1))


if __name__ == "__main__":
    main()
