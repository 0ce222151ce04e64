"""`motorpool demo`: everything once, for real, in a temporary directory.

Each step uses the product as a user would: `motorpool up` and `motorpool modelcar build` are run as
programs, the YAML goes through the API over HTTPS, the images through the router. Exit 0 only if
every step worked and the model was as accurate as it was when it was trained.
"""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motorpool.cli.console import fail

if TYPE_CHECKING:
    from rich.console import Console

SERVE_TIMEOUT_S = 60
READY_TIMEOUT_S = 120
ROUTE_TIMEOUT_S = 30
ACCURACY_MIN = 0.95
ROWS_SHOWN = 12


class DemoFailed(Exception):
    """A step that did not work, in words for the one who watches."""


@dataclass(frozen=True, slots=True)
class Answer:
    image: str
    expected: int
    predicted: int
    latency_ms: float


@click.command()
@click.option(
    "--example",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A directory with model/, manifests/ and images/. The handwritten digits by default.",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table")
def demo(example: Path | None, output: str) -> None:
    """Serve the example model, ask it, and clean up.

    Example: motorpool demo --output json
    """
    from rich.console import Console

    console = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="motorpool-demo-") as directory:
            answers = run(console, example or digits(), Path(directory) / "data")
    except DemoFailed as error:
        fail(str(error))
    correct = sum(answer.predicted == answer.expected for answer in answers)
    accuracy = correct / len(answers)
    if output == "json":
        click.echo(json.dumps(_summary(answers, accuracy)))
    else:
        _print_table(answers, accuracy)
    if accuracy < ACCURACY_MIN:
        fail(f"accuracy {accuracy:.1%} is below {ACCURACY_MIN:.0%}")


def digits() -> Path:
    """The example that ships with Motorpool: in the package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    for candidate in (package / "examples" / "digits", package.parents[1] / "examples" / "digits"):
        if (candidate / "model").is_dir():
            return candidate
    raise DemoFailed("the example model is not installed; name one with --example")


def run(console: "Console", example: Path, data_dir: Path) -> list[Answer]:
    """Every step of the demo. Raises DemoFailed."""
    data_dir.mkdir(parents=True)
    with _step(console, "Starting the platform"):
        platform = _start(data_dir)
    try:
        endpoints = _serving(platform, data_dir)
        console.print(f"  API {endpoints['api']}, router {endpoints['http']}")
        with _step(console, "Packing the model into a ModelCar"):
            _modelcar(example / "model", data_dir)
        with _step(console, "Applying the manifests"):
            documents = _documents(example / "manifests")
            served = asyncio.run(_apply_and_wait(console, documents, endpoints))
        with _step(console, f"Sending images to {served['host']}"):
            return _ask(example, endpoints["http"], served)
    finally:
        with _step(console, "Tearing everything down"):
            _stop(platform, data_dir)


@contextlib.contextmanager
def _step(console: "Console", words: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(words):
        yield
    console.print(f"[green]✓[/] {words} [dim]{time.monotonic() - started:.2f} s[/]")


def _motorpool(*words: str) -> list[str]:
    return [sys.executable, "-m", "motorpool", *words]


def _start(data_dir: Path) -> subprocess.Popen[bytes]:
    ports = ["--api-port", "0", "--http-port", "0", "--https-port", "0"]
    with (data_dir.parent / "up.log").open("wb") as log:
        command = _motorpool("up", "--data-dir", str(data_dir), *ports)
        platform = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + SERVE_TIMEOUT_S
    while not (data_dir / "run" / "endpoints.json").exists():
        if platform.poll() is not None or time.monotonic() > deadline:
            said = (data_dir.parent / "up.log").read_text(errors="replace")[-2000:]
            _stop(platform, data_dir)
            raise DemoFailed(f"motorpool up did not come to serve; it said:\n{said}")
        time.sleep(0.02)
    return platform


def _serving(platform: subprocess.Popen[bytes], data_dir: Path) -> dict[str, Any]:
    endpoints: dict[str, Any] = json.loads((data_dir / "run" / "endpoints.json").read_text())
    if endpoints["pid"] != platform.pid:
        raise DemoFailed(f"another platform runs in {data_dir}")
    return endpoints


def _stop(platform: subprocess.Popen[bytes], data_dir: Path) -> None:
    down = subprocess.run(
        _motorpool("down", "--data-dir", str(data_dir)), capture_output=True, text=True, check=False
    )
    if platform.poll() is None:
        platform.send_signal(signal.SIGTERM)
        try:
            platform.wait(15)
        except subprocess.TimeoutExpired:
            platform.kill()
            platform.wait()
    if down.returncode != 0:
        raise DemoFailed(f"motorpool down failed: {down.stderr.strip()}")


def _modelcar(model: Path, data_dir: Path) -> None:
    command = _motorpool(
        "modelcar", "build", str(model), "-t", "localhost/digits:1", "--data-dir", str(data_dir)
    )
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise DemoFailed(built.stderr.strip())


def _documents(manifests: Path) -> list[dict[str, Any]]:
    import yaml

    return [
        document
        for path in sorted(manifests.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document
    ]


async def _apply_and_wait(
    console: "Console", documents: Sequence[dict[str, Any]], endpoints: dict[str, Any]
) -> dict[str, str]:
    """Applies every document and waits until the model answers. Returns its name and host."""
    from motorpool.api.errors import ApiError
    from motorpool.api.scheme import by_kind
    from motorpool.client.http import HttpClient

    async with HttpClient.from_kubeconfig(Path(endpoints["kubeconfig"])) as client:
        for document in documents:
            kind = by_kind(document["apiVersion"], document["kind"])
            if kind is None:
                raise DemoFailed(f"no such kind: {document['apiVersion']} {document['kind']}")
            document["metadata"].setdefault("namespace", "default")
            try:
                await client.apply(kind, document, manager="motorpool-demo")
            except ApiError as error:
                raise DemoFailed(str(error)) from None
            console.print(f"  {kind.resource}/{document['metadata']['name']}")
        return await _served(console, client, documents)


async def _served(
    console: "Console", client: Any, documents: Sequence[dict[str, Any]]
) -> dict[str, str]:
    from motorpool.api import conditions, route, serving
    from motorpool.api.meta import at

    [isvc] = [d["metadata"]["name"] for d in documents if d["kind"] == "InferenceService"]
    [route_name] = [d["metadata"]["name"] for d in documents if d["kind"] == "Route"]
    started, said = time.monotonic(), ""
    while True:
        obj = await client.get(serving.INFERENCE_SERVICE, "default", isvc)
        ready = conditions.condition_of(obj, "Ready") or {}
        now = f"{ready.get('reason', '')} {ready.get('message', '')}".strip()
        if ready.get("status") == "True":
            break
        if now != said:
            said = now
            console.print(
                f"  [dim]{time.monotonic() - started:5.2f} s[/] {said or 'waiting'}", soft_wrap=True
            )
        if time.monotonic() - started > READY_TIMEOUT_S:
            raise DemoFailed(f"the InferenceService is not ready after {READY_TIMEOUT_S} s: {said}")
        await asyncio.sleep(0.05)
    console.print(f"  [dim]{time.monotonic() - started:5.2f} s[/] Ready")
    obj = await client.get(route.ROUTE, "default", route_name)
    return {"model": isvc, "host": at(obj, "spec", "host", default="")}


def _ask(example: Path, router: str, served: dict[str, str]) -> list[Answer]:
    """Sends every held-out image, encoded as it is, and reads the class from the logits."""
    import httpx

    labels: dict[str, int] = json.loads((example / "labels.json").read_text())
    url = f"{router}/v2/models/{served['model']}"
    answers = []
    with httpx.Client(headers={"Host": served["host"]}, timeout=10, trust_env=False) as client:
        metadata = _routed(client, url)
        tensor = metadata["inputs"][0]["name"]
        for image, expected in labels.items():
            content = (example / "images" / image).read_bytes()
            header = json.dumps(
                {"inputs": [{"name": tensor, "shape": [1], "datatype": "BYTES"}]}
            ).encode()
            body = header + len(content).to_bytes(4, "little") + content
            sent = time.perf_counter()
            response = client.post(
                f"{url}/infer",
                content=body,
                headers={"Inference-Header-Content-Length": str(len(header))},
            )
            latency_ms = (time.perf_counter() - sent) * 1000
            if response.status_code != 200:
                raise DemoFailed(f"{image}: {response.status_code} {response.text}")
            logits = response.json()["outputs"][0]["data"]
            predicted = max(range(len(logits)), key=logits.__getitem__)
            answers.append(Answer(image, expected, predicted, latency_ms))
    return answers


def _routed(client: Any, url: str) -> dict[str, Any]:
    """The model's metadata, once the router has heard of its Route."""
    deadline = time.monotonic() + ROUTE_TIMEOUT_S
    while True:
        response = client.get(url)
        if response.status_code == 200:
            metadata: dict[str, Any] = response.json()
            return metadata
        if time.monotonic() > deadline:
            raise DemoFailed(f"{url}: {response.status_code} {response.text}")
        time.sleep(0.02)


def _summary(answers: Sequence[Answer], accuracy: float) -> dict[str, Any]:
    latencies = sorted(answer.latency_ms for answer in answers)
    return {
        "images": len(answers),
        "accuracy": round(accuracy, 4),
        "latency_ms_p50": round(latencies[len(latencies) // 2], 3),
        "latency_ms_max": round(latencies[-1], 3),
        "answers": [
            {"image": a.image, "expected": a.expected, "class": a.predicted} for a in answers
        ],
    }


def _print_table(answers: Sequence[Answer], accuracy: float) -> None:
    from rich.console import Console
    from rich.table import Table

    summary = _summary(answers, accuracy)
    table = Table("image", "class", "expected", "latency", box=None, pad_edge=False)
    wrong = [a for a in answers if a.predicted != a.expected]
    shown = [*answers[: ROWS_SHOWN - min(len(wrong), 4)], *wrong[:4]]
    for answer in shown:
        mark = "" if answer.predicted == answer.expected else "  ✗"
        table.add_row(
            answer.image,
            f"{answer.predicted}{mark}",
            str(answer.expected),
            f"{answer.latency_ms:.1f} ms",
        )
    out = Console()
    out.print(table)
    if len(answers) > len(shown):
        out.print(f"… {len(answers)} images in all")
    out.print(
        f"accuracy {accuracy:.1%}, latency p50 {summary['latency_ms_p50']:.1f} ms, "
        f"max {summary['latency_ms_max']:.1f} ms"
    )
