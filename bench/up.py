"""What the platform costs: time to serve, memory, idle CPU, apply to Ready, many pods.

Run from the root of the repository: `make bench`. Prints one table against the targets, with the
machine's name; `--output json` for scripts. Every figure is measured in this one run.
"""

import argparse
import contextlib
import json
import os
import platform as machine
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.platform import Platform, processes, running
from tests.programs import program

from bench import podman, pods

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits"
SETTLE_S = 8  # until what starts in the background has started
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    target: str
    measured: str
    met: bool | None  # None where there is no target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle-s", type=int, default=30)
    parser.add_argument("--fleet", type=int, default=pods.FLEET, help="0 leaves it out")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    options = parser.parse_args()

    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="motorpool-bench-") as directory:
        figures.append(time_to_serve(Path(directory), options.runs))
        with running(Path(directory) / "data") as platform:
            time.sleep(SETTLE_S)
            figures += memory(platform)
            figures.append(idle_cpu(platform, options.idle_s))
            figures.append(apply_to_ready(platform, options.runs))
        pods.prepare(Path(directory) / "pods")
        with running(Path(directory) / "pods") as platform:
            time.sleep(SETTLE_S)
            figures += many_pods(platform, options.runs, options.fleet)
        if shutil.which("podman"):
            figures += containers(Path(directory) / "podman", options.runs)
    if options.output == "json":
        print(json.dumps({"machine": name(), "figures": [asdict(f) for f in figures]}, indent=1))
    else:
        print_table(figures)


def name() -> str:
    model = "unknown CPU"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{machine.node()}: {os.cpu_count()} x {model}, Python {machine.python_version()}"


def time_to_serve(directory: Path, runs: int) -> Figure:
    """From exec of `motorpool up` on an empty directory to API and router serving."""
    seconds = []
    for run in range(runs):
        platform = Platform(directory / f"serve-{run}")
        started = time.monotonic()
        platform.start(poll_s=0.005)
        seconds.append(time.monotonic() - started)
        platform.stop()
    return at_most("motorpool up to serving, cold", statistics.median(seconds), 2.0, "s")


def memory(platform: Platform) -> list[Figure]:
    assert platform.process is not None
    figures = [
        at_most("control plane, resident, no models", rss_mb(platform.process.pid), 100.0, "MB")
    ]
    for pid, words in children(platform):
        figures.append(Figure(f"  beside it: {words}", "", f"{rss_mb(pid):.0f} MB", None))
    return figures


def idle_cpu(platform: Platform, idle_s: int) -> Figure:
    """Everything that the platform runs, in percent of one core."""
    assert platform.process is not None
    pids = [platform.process.pid, *(pid for pid, _ in children(platform))]
    before = sum(cpu_s(pid) for pid in pids)
    time.sleep(idle_s)
    used = sum(cpu_s(pid) for pid in pids) - before
    return at_most("idle CPU of everything", used / idle_s * 100, 1.0, "% of a core")


def apply_to_ready(platform: Platform, runs: int) -> Figure:
    """From exec of `kubectl apply` of a new InferenceService to Ready=True in a watch."""
    built = platform.run("modelcar", "build", str(DIGITS / "model"), "-t", "localhost/digits:1")
    assert built.returncode == 0, built.stderr
    manifest = (DIGITS / "manifests" / "inferenceservice.yaml").read_text()
    platform.kubectl("apply", "-f", str(DIGITS / "manifests" / "servingruntime.yaml"))
    seconds = []
    for run in range(runs + 1):
        isvc = f"digits-{run}"
        with watching(platform, isvc) as watch:
            started = time.monotonic()
            platform.kubectl(
                "apply", "-f", "-", stdin=manifest.replace("name: digits\n", f"name: {isvc}\n")
            )
            assert watch.wait(60) == 0, f"{isvc} did not become ready"
            seconds.append(time.monotonic() - started)
        platform.kubectl("delete", "isvc", isvc)
    # The first one pays for kubectl's discovery cache.
    return at_most("kubectl apply to Ready, small model", statistics.median(seconds[1:]), 1.0, "s")


def many_pods(platform: Platform, runs: int, fleet: int) -> list[Figure]:
    """A model server's start by a fork and without, and many InferenceServices at once."""
    pods.build(platform)
    starts = pods.measure_starts(platform, runs)
    figures = [
        Figure("pod of a model server to Ready, forked", "", f"{starts['forked']:.2f} s", None),
        Figure("  the same, executed", "", f"{starts['cold']:.2f} s", None),
    ]
    if fleet:
        found = pods.measure_fleet(platform, fleet)
        what = f"{fleet} InferenceServices at once, all Ready"
        share = f"{found['pss_mb']:.2f} MB"
        figures += [
            at_most(what, found["seconds"], 60.0, "s"),
            at_most("  private memory of each, the largest", found["uss_most_mb"], 25.0, "MB"),
            Figure("  with its share of what is common, median", "", share, None),
        ]
    return figures


def containers(directory: Path, runs: int) -> list[Figure]:
    """A pod's start in podman, its image being there."""
    directory.mkdir()
    found = podman.measure(directory, runs)
    return [
        Figure("pod in podman to Ready", "", f"{found['start']:.2f} s", None),
        Figure("  the first one, which starts podman", "", f"{found['first']:.2f} s", None),
        Figure("  beside it: podman's service", "", f"{found['service_mb']:.0f} MB", None),
    ]


@contextlib.contextmanager
def watching(platform: Platform, isvc: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends once the InferenceService is ready."""
    watch = subprocess.Popen(
        [sys.executable, "-m", "bench.ready", isvc],
        env=platform.environment,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert watch.stdout is not None
    watch.stdout.readline()  # It says when it watches.
    try:
        yield watch
    finally:
        if watch.poll() is None:
            watch.kill()
        watch.wait()
        watch.stdout.close()


def children(platform: Platform) -> list[tuple[int, str]]:
    """Envoy, the supervisor and the fork server: everything that runs beside `up`."""
    commands = dict(line.split(" ", 1) for line in processes())
    found = []
    for pid in sorted(platform.data_plane()):
        words = commands.get(str(pid), "").split()
        found.append((pid, " ".join(Path(word).name for word in words[:3])[:40]))
    return found


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def at_most(what: str, value: float, target: float, unit: str) -> Figure:
    return Figure(what, f"<= {target:g} {unit}", f"{value:.2f} {unit}", value <= target)


def print_table(figures: list[Figure]) -> None:
    print(name())
    width = max(len(figure.what) for figure in figures)
    for figure in figures:
        met = {True: "met", False: "MISSED", None: ""}[figure.met]
        print(f"{figure.what:<{width}}  {figure.target:<20}  {figure.measured:<20}  {met}")


if __name__ == "__main__":
    program("kubectl")
    main()
