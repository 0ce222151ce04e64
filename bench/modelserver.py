"""How fast the model server is: `python -m bench.modelserver`.

Prints served against bare throughput of ResNet-50 over binary tensors, requests a second of a small
model over JSON, seconds to the first answer and resident memory. What is compared is measured in
turns within one run, because the machine's own speed changes from minute to minute.
"""

import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from motorpool.modelserver.main import warm

warm()

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

from bench import resnet50  # noqa: E402

ROUNDS = 5
ROUND_S = 3.0
PIXELS = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        large, small = Path(directory, "large"), Path(directory, "small")
        resnet50.build(large)
        build_small(small)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before")
        compare_with_bare_engine(large)
        with served(small) as (port, pid, ready_s):
            head, body = json_request()
            for clients in (1, 4, 16):
                rate = requests_a_second(port, head + body, clients)
                print(f"small model, JSON, {clients:2} clients: {rate:8.0f} req/s")
            print(f"small model: ready in {ready_s:.2f} s from a cold start, {rss_mb(pid):.0f} MB")


def compare_with_bare_engine(model: Path) -> None:
    compiled = ov.Core().compile_model(
        model / "1" / "model.xml", "CPU", {"PERFORMANCE_HINT": "LATENCY"}
    )
    head, body = binary_request()
    bare, through_server = [], []
    with served(model) as (port, pid, ready_s):
        for _ in range(ROUNDS):
            bare.append(inferences_a_second(compiled))
            through_server.append(requests_a_second(port, head + body, 4))
        print(f"ResNet-50: ready in {ready_s:.2f} s from a cold start, {rss_mb(pid):.0f} MB")
    ratio = statistics.median(b / a for a, b in zip(bare, through_server, strict=True))
    print(f"ResNet-50, engine alone: {statistics.median(bare):.1f} inferences/s")
    print(f"ResNet-50, bytes, 4 clients: {statistics.median(through_server):.1f} req/s")
    print(f"served / bare, median of {ROUNDS} pairs: {ratio:.2f}")


def inferences_a_second(compiled: ov.CompiledModel) -> float:
    queue = ov.AsyncInferQueue(compiled)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < ROUND_S:
        queue.start_async({0: PIXELS})
        count += 1
    queue.wait_all()
    return count / (time.perf_counter() - started)


def requests_a_second(port: int, request: bytes, clients: int) -> float:
    context = multiprocessing.get_context("fork")
    counts = context.SimpleQueue()
    processes = [
        context.Process(target=client, args=(port, request, counts)) for _ in range(clients)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a client of the bench failed")
    return sum(counts.get() for _ in processes) / ROUND_S


def client(port: int, request: bytes, counts: "multiprocessing.SimpleQueue[int]") -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size, count = exchange(connection, request), 0
        end = time.perf_counter() + ROUND_S
        while time.perf_counter() < end:
            connection.sendall(request)
            left = size
            while left > 0:
                left -= len(connection.recv(left))
            count += 1
    counts.put(count)


def exchange(connection: socket.socket, request: bytes) -> int:
    """One request; the size of its response, which every other one will have."""
    connection.sendall(request)
    reply = connection.recv(1 << 20)
    head, _, _ = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), reply[:500]
    lengths = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    size = len(head) + 4 + int(lengths[0].split(b":")[1])
    received = len(reply)
    while received < size:
        received += len(connection.recv(size - received))
    return size


@contextlib.contextmanager
def served(model: Path) -> Iterator[tuple[int, int, float]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.perf_counter()
    command = [sys.executable, "-m", "motorpool.modelserver", "--model_name=m", "--metrics_enable"]
    flags = [f"--model_path={model}", f"--rest_port={port}", "--rest_bind_address=127.0.0.1"]
    process = subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(port)
        yield port, process.pid, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 30
    request = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as ready:
            ready.sendall(request)
            if ready.recv(4096).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.005)
    raise TimeoutError("the model server did not become ready")


def binary_request() -> tuple[bytes, bytes]:
    given = {
        "name": "0",
        "shape": list(PIXELS.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": PIXELS.nbytes},
    }
    outputs = [{"name": "1463", "parameters": {"binary_data": True}}]
    text = json.dumps({"inputs": [given], "outputs": outputs}).encode()
    return head(len(text) + PIXELS.nbytes, len(text)), text + PIXELS.tobytes()


def json_request() -> tuple[bytes, bytes]:
    given = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
    text = json.dumps({"inputs": [given]}).encode()
    return head(len(text), len(text)), text


def head(length: int, json_length: int) -> bytes:
    return (
        f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        f"Inference-Header-Content-Length: {json_length}\r\n\r\n"
    ).encode()


def build_small(directory: Path) -> None:
    """The size of an iris classifier."""
    weights = np.random.default_rng(0).random((4, 3), np.float32)
    x = op.parameter([1, 4], np.float32, name="x")
    x.output(0).set_names({"x"})
    y = op.softmax(op.matmul(x, weights, False, False), 1)
    y.output(0).set_names({"y"})
    (directory / "1").mkdir(parents=True)
    ov.save_model(ov.Model([y], [x], "iris"), directory / "1" / "model.xml")


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
