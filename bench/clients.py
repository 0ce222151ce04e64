"""Clients that others wrote, unmodified, against this server: `python -m bench.clients`.

KServe's own Python clients and OpenVINO Model Server's, each in a virtual environment of its own,
because they pin what the other cannot have. Not a test: it installs from a package index. Triton's
clients are among the tests.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from motorpool.modelserver.main import warm

warm()

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

from bench import peers  # noqa: E402
from bench.server import posted  # noqa: E402

# Made for TensorFlow's messages of its time.
OVMSCLIENT = ("ovmsclient", "protobuf<3.21", "numpy<2")

KSERVE_PROGRAM = """
import asyncio, sys
import numpy as np
from kserve import InferenceRESTClient, InferenceGRPCClient, InferInput, InferRequest, RESTConfig
rest_port, rpc_port = sys.argv[1:]
base = f"http://127.0.0.1:{rest_port}"
NUMBERS = np.array([[1, 2, 3, 4]], np.float32)

def request(binary):
    given = InferInput("x", [1, 4], "FP32")
    given.set_data_from_numpy(NUMBERS, binary_data=binary)
    return InferRequest("m", [given])

async def main():
    v1, v2 = (InferenceRESTClient(RESTConfig(protocol=each)) for each in ("v1", "v2"))
    assert await v2.is_model_ready(base, "m")
    for binary in (False, True):
        answer = await v2.infer(base, request(binary), model_name="m")
        assert answer.outputs[0].as_numpy().tolist() == [[2, 4, 6, 8]], answer
    answer = await v1.infer(base, {"instances": NUMBERS.tolist()}, model_name="m")
    assert answer == {"predictions": [[2, 4, 6, 8]]}, answer
    rpc = InferenceGRPCClient(f"127.0.0.1:{rpc_port}")
    assert await rpc.is_server_live() and await rpc.is_server_ready()
    assert await rpc.is_model_ready("m")
    for binary in (False, True):
        answer = await rpc.infer(request(binary))
        assert answer.outputs[0].as_numpy().tolist() == [[2, 4, 6, 8]], answer
    await rpc.close()
    # They read a JSON body, which OpenVINO Model Server does not send, nor do we.
    for ask in (v2.is_server_live, v2.is_server_ready):
        try:
            print(f"  {ask.__name__}: {await ask(base)}")
        except Exception as error:
            print(f"  {ask.__name__}: {type(error).__name__}")

asyncio.run(main())
"""
OVMS_PROGRAM = """
import sys
import numpy as np
import ovmsclient
rest_port, rpc_port = sys.argv[1:]
NUMBERS = np.array([[1, 2, 3, 4]], np.float32)
for client in (ovmsclient.make_grpc_client(f"127.0.0.1:{rpc_port}"),
               ovmsclient.make_http_client(f"127.0.0.1:{rest_port}")):
    assert client.predict({"x": NUMBERS}, "m").tolist() == [[2, 4, 6, 8]]
    assert client.get_model_status("m")[1]["state"] == "AVAILABLE"
    described = client.get_model_metadata("m")
    assert described["inputs"]["x"]["shape"] == [1, 4], described
    try:
        client.predict({"x": NUMBERS}, "nope")
    except ovmsclient.ModelNotFoundError:
        pass
    else:
        raise AssertionError("a model that is not there was found")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory, "model")
        times_two(model / "1")
        rpc_port, port = peers.free_port(), peers.free_port()
        command = peers.ours(model, port, f"--port={rpc_port}", "--grpc_bind_address=127.0.0.1")
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        with peers.running("ours", command, port, posted({"inputs": [tensor]})):
            ran("kserve", peers.KSERVE, KSERVE_PROGRAM, port, rpc_port)
            ran("ovmsclient", OVMSCLIENT, OVMS_PROGRAM, port, rpc_port)


def ran(name: str, packages: tuple[str, ...], program: str, port: int, rpc_port: int) -> None:
    if (programs := peers.installed(name, packages)) is None:
        return
    command = [str(programs / "python"), "-c", program, str(port), str(rpc_port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    print(f"{name}: {'works' if ended.returncode == 0 else 'FAILS'}")
    print(ended.stdout, end="")
    if ended.returncode:
        sys.exit(ended.stderr)


def times_two(directory: Path) -> None:
    x = op.parameter([1, 4], np.float32, name="x")
    x.output(0).set_names({"x"})
    y = op.multiply(x, np.float32(2))
    y.output(0).set_names({"y"})
    directory.mkdir(parents=True)
    ov.save_model(ov.Model([y], [x], "m"), directory / "model.xml")


if __name__ == "__main__":
    main()
