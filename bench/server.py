"""How fast the model server is, beside its peers and the bare engine: `python -m bench.server`.

Words on the command line choose: iris grpc resnet jpeg identity start workers. What is compared is
measured in turns within one run, because the machine's own speed changes from minute to minute; a
ratio is the median of the ratios of the rounds.
"""

import contextlib
import io
import json
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from motorpool.modelserver.main import warm

warm()

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402
from PIL import Image  # noqa: E402

from bench import load, load_grpc, peers, resnet50  # noqa: E402
from motorpool.modelserver.protocols import messages  # noqa: E402

ROUNDS = 5
ROUND_S = 3.0
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.random((1, 3, 224, 224), np.float32)
IRIS = [5.1, 3.5, 1.4, 0.2]
OUTPUT = "output-0"  # what KServe's server calls its only one
Measure = Callable[[], float]
DIGITS = Path(__file__).parents[1] / "examples/digits/model"


def main(chosen: list[str]) -> None:
    if unknown := set(chosen) - set(BENCHES):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before; rounds of {ROUND_S:g} s")
    with tempfile.TemporaryDirectory() as directory:
        for name in chosen or list(BENCHES):
            print(f"\n{name}: {BENCHES[name].__doc__}")
            path = Path(directory, name, "model")
            path.mkdir(parents=True)
            BENCHES[name](path)


def trained_on_iris(model: Path) -> bytes:
    """A request for what was trained."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, classes = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(features, classes), model / "model.joblib")
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": IRIS}
    return posted({"inputs": [tensor]})


def grpc(model: Path) -> None:
    """The same over gRPC, typed contents, 16 connections."""
    over_rest = trained_on_iris(model)
    infer = messages.message("inference.ModelInferRequest")(model_name="m")
    contents = {"fp64_contents": IRIS}
    infer.inputs.add(name="x", datatype="FP64", shape=[1, 4], contents=contents)
    request = load_grpc.call(
        "/inference.GRPCInferenceService/ModelInfer", infer.SerializeToString()
    )
    rivals: dict[str, Measure] = {}
    with contextlib.ExitStack() as stack:

        def add(name: str, make: Callable[..., list[str]], *first: object) -> None:
            rpc_port = peers.free_port()
            command = bound(make, rpc_port, *first)
            stack.enter_context(started(command, model, over_rest))
            rivals[name] = loaded(rpc_port, request, 16)

        add("ours", peers.ours_with_grpc)
        if programs := peers.installed("kserve", peers.KSERVE):
            add("kserve", peers.kserve_with_grpc, programs)
        if programs := peers.installed("mlserver", peers.MLSERVER):
            add("mlserver", peers.mlserver_with_grpc, programs)
        compare(rivals)


def iris(model: Path) -> None:
    """LogisticRegression of scikit-learn, V2 JSON, 16 connections."""
    request = trained_on_iris(model)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(started(peers.ours, model, request, "--allow_pickle"))]
        if programs := peers.installed("kserve", peers.KSERVE):
            make = bound(peers.kserve, programs, "sklearn")
            servers.append(stack.enter_context(started(make, model, request)))
        if programs := peers.installed("mlserver", peers.MLSERVER):
            make = bound(peers.mlserver, programs)
            servers.append(stack.enter_context(started(make, model, request)))
        rivals = {each.name: loaded(each.port, request, 16) for each in servers}
        compare(rivals)
        for each in servers:
            print(f"  {each.name:10} resident with its children {peers.rss_mb(each.pid):6.0f} MB")


def resnet(model: Path) -> None:
    """ResNet-50 with random weights, FP32 tensors as bytes, both ways; free: threads not pinned."""
    resnet50.build(model)
    request = posted(*tensor_request("0", PIXELS, "1463"))
    for_kserve = posted(*tensor_request("0", PIXELS, OUTPUT))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(started(peers.ours, model, request))
        rivals = {"bare": inferences(model)}
        rivals["bare, free"] = inferences(model, ENABLE_CPU_PINNING=False)
        rivals["ours, 1"] = loaded(server.port, request, 1)
        rivals["ours, 4"] = loaded(server.port, request, 4)
        if programs := peers.installed("kserve", peers.KSERVE):
            make = bound(peers.kserve, programs, "openvino")
            peer = stack.enter_context(started(make, model, for_kserve))
            rivals["kserve, 1"] = loaded(peer.port, for_kserve, 1)
            rivals["kserve, 4"] = loaded(peer.port, for_kserve, 4)
        compare(rivals)


def workers(model: Path) -> None:
    """Two processes beside one: iris with 16 connections, ResNet-50 with 4; and their memory."""
    resnet50.build(model / "resnet")
    kinds = {
        "iris": (model, trained_on_iris(model), 16),
        "resnet": (model / "resnet", posted(*tensor_request("0", PIXELS, "1463")), 4),
    }
    for name, (path, request, clients) in kinds.items():
        with contextlib.ExitStack() as stack:
            servers = [
                stack.enter_context(started(peers.ours, path, request, "--allow_pickle"))
                for _ in range(2)
            ]
            first, second = (each.port for each in servers)
            compare(
                {
                    f"ours, {name}": loaded(first, request, clients),
                    f"two, {name}": shared([first, second], request, clients),
                }
            )
            for each in servers:
                print(
                    f"  resident {peers.rss_mb(each.pid):.0f} MB, its share {pss_mb(each.pid):.0f}"
                )


def pss_mb(pid: int) -> float:
    """Resident, with what several processes share counted in parts."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def shared(ports: list[int], request: load.Request, clients: int) -> Measure:
    """As many clients in all, spread over the servers, as a socket that they share would do it."""

    def measure() -> float:
        given = [(port, request, clients // len(ports), ROUND_S) for port in ports]
        with ThreadPoolExecutor(len(ports)) as pool:
            return sum(each.rate for each in pool.map(lambda one: load.measured(*one), given))

    return measure


def jpeg(model: Path) -> None:
    """ResNet-50 from JPEG bytes, 500 x 375 pixels, 4 clients; bare is decode, infer in a loop."""
    from motorpool.modelserver import images, tensors

    resnet50.build(model)
    pixels = np.kron(RANDOM.integers(0, 255, (47, 63, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    encoded = io.BytesIO()
    Image.fromarray(pixels[:375, :500]).save(encoded, "JPEG", quality=90)
    content = encoded.getvalue()
    blob = struct.pack("<I", len(content)) + content
    tensor = {"name": "0", "shape": [1], "datatype": "BYTES"}
    tensor["parameters"] = {"binary_data_size": len(blob)}
    asked = [{"name": "1463", "parameters": {"binary_data": True}}]
    request = posted({"inputs": [tensor], "outputs": asked}, blob)
    dimensions = tuple(tensors.Dimension(size, size) for size in (1, 224, 224, 3))
    spec = tensors.TensorSpec("0", "FP32", dimensions, "NHWC")
    with started(peers.ours, model, request, "--layout=NHWC:NCHW") as server:
        compiled = compiled_with_layout(model)
        compare(
            {
                "bare": in_a_loop(
                    lambda: compiled([images.tensor_of(tensors.Images(spec, [content]))])
                ),
                "ours, 4": loaded(server.port, request, 4),
            }
        )


def identity(model: Path) -> None:
    """600 kB of FP32 as bytes through a model that gives them back, 4 clients."""
    x = op.parameter([1, 3, 224, 224], np.float32, name="x")
    x.output(0).set_names({"x"})
    y = op.result(op.relu(x))
    y.output(0).set_names({"y"})
    (model / "1").mkdir()
    ov.save_model(ov.Model([y], [x], "identity"), model / "1/model.xml")
    request = posted(*tensor_request("x", PIXELS, "y"))
    for_kserve = posted(*tensor_request("x", PIXELS, OUTPUT))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(started(peers.ours, model, request))
        rivals = {"ours": loaded(server.port, request, 4)}
        if programs := peers.installed("kserve", peers.KSERVE):
            make = bound(peers.kserve, programs, "identity")
            peer = stack.enter_context(started(make, model, for_kserve))
            rivals["kserve"] = loaded(peer.port, for_kserve, 4)
        compare(rivals)


def start(_: Path) -> None:
    """Seconds from exec to the first answer, the digits model."""
    pixels = RANDOM.random((1, 1, 8, 8), np.float32)
    spec = ov.Core().read_model(DIGITS / "1/model.xml").inputs[0]
    name, shape = spec.get_any_name(), [max(1, d.get_min_length()) for d in spec.partial_shape]
    tensor = {"name": name, "shape": shape, "datatype": "FP32"}
    tensor["data"] = np.resize(pixels, shape).ravel().tolist()
    request = posted({"inputs": [tensor]})

    def seconds(make: Callable[..., list[str]]) -> Callable[[], float]:
        def measure() -> float:
            begun = time.perf_counter()
            with started(make, DIGITS, request):
                return time.perf_counter() - begun

        return measure

    rivals = {"ours": seconds(peers.ours)}
    if programs := peers.installed("kserve", peers.KSERVE):
        rivals["kserve"] = seconds(bound(peers.kserve, programs, "openvino"))
    rounds = [{name: measure() for name, measure in rivals.items()} for _ in range(ROUNDS)]
    report(rounds, "{:8.2f} s")


BENCHES = {
    "iris": iris, "grpc": grpc, "resnet": resnet, "jpeg": jpeg, "identity": identity,
    "start": start, "workers": workers,
}  # fmt: skip


def compare(rivals: dict[str, Measure]) -> None:
    """All in turns, the last first in every second round."""
    rounds = []
    for number in range(ROUNDS):
        order = list(rivals.items())[:: -1 if number % 2 else 1]
        rounds.append({name: measure() for name, measure in order})
    report(rounds, "{:8.1f} a second")
    for name, measure in rivals.items():
        if loads := getattr(measure, "loads", None):
            p50, p99, cpu = (
                statistics.median(getattr(each, field) for each in loads)
                for field in ("p50_ms", "p99_ms", "cpu")
            )
            print(f"  {name:10} p50 {p50:.2f} ms, p99 {p99:.2f} ms, load generator {cpu:.0%} CPU")


def report(rounds: list[dict[str, float]], form: str) -> None:
    first = next(name for name in rounds[0] if name.startswith(("bare", "ours")))
    first = "bare" if "bare" in rounds[0] else first
    for name in sorted(rounds[0], key=lambda each: (each != first, each)):
        median = statistics.median(each[name] for each in rounds)
        ratio = statistics.median(each[name] / each[first] for each in rounds)
        print(f"  {name:10} {form.format(median)}, {ratio:.3f} of {first}")


class loaded:  # noqa: N801 - a function that remembers
    def __init__(self, port: int, request: load.Request, clients: int) -> None:
        self._given = (port, request, clients, ROUND_S)
        self.loads: list[load.Load] = []

    def __call__(self) -> float:
        self.loads.append(load.measured(*self._given))
        return self.loads[-1].rate


def inferences(model: Path, **properties: object) -> Measure:
    """The engine's own asynchronous queue, as full as it wants to be."""
    compiled = ov.Core().compile_model(
        model / "1/model.xml", "CPU", {"PERFORMANCE_HINT": "LATENCY"} | properties
    )

    def measure() -> float:
        queue = ov.AsyncInferQueue(compiled)
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < ROUND_S:
            queue.start_async({0: PIXELS})
            count += 1
        queue.wait_all()
        return count / (time.perf_counter() - begun)

    return measure


def in_a_loop(work: Callable[[], object]) -> Measure:
    def measure() -> float:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < ROUND_S:
            work()
            count += 1
        return count / (time.perf_counter() - begun)

    return measure


def compiled_with_layout(model: Path) -> ov.CompiledModel:
    processor = ov.preprocess.PrePostProcessor(ov.Core().read_model(model / "1/model.xml"))
    processor.input(0).tensor().set_layout(ov.Layout("NHWC"))
    processor.input(0).model().set_layout(ov.Layout("NCHW"))
    return ov.Core().compile_model(processor.build(), "CPU", {"PERFORMANCE_HINT": "LATENCY"})


def started(
    make: Callable[..., list[str]], model: Path, request: bytes, *flags: str
) -> contextlib.AbstractContextManager[peers.Server]:
    port = peers.free_port()
    return peers.running(make.__name__, make(model, port, *flags), port, request)


def bound(make: Callable[..., list[str]], *first: object) -> Callable[..., list[str]]:
    def command(model: Path, port: int) -> list[str]:
        return make(*first, model, port)

    command.__name__ = make.__name__
    return command


def tensor_request(name: str, array: np.ndarray, output: str) -> tuple[dict[str, object], bytes]:
    tensor = {"name": name, "shape": list(array.shape), "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": array.nbytes}
    outputs = [{"name": output, "parameters": {"binary_data": True}}]
    return {"inputs": [tensor], "outputs": outputs}, array.tobytes()


def posted(document: dict[str, object], blob: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    kind = "application/octet-stream" if blob else "application/json"
    extra = f"Inference-Header-Content-Length: {len(text)}\r\n" if blob else ""
    head = (
        f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(text) + len(blob)}\r\n{extra}\r\n"
    )
    return head.encode() + text + blob


if __name__ == "__main__":
    main(sys.argv[1:])
