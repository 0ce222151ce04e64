"""A model behind the KServe SDK's own server; runs in that SDK's virtual environment.

python peer_kserve.py sklearn|openvino|identity PATH PORT [GRPC_PORT]
"""

import sys

import uvicorn
from grpc.aio import _server as rpc


class OnLoopback(uvicorn.Config):
    def __init__(self, *given, **named):
        super().__init__(*given, **named | {"host": "127.0.0.1"})


class RpcOnLoopback(rpc.Server):
    def add_insecure_port(self, address):
        return super().add_insecure_port(address.replace("[::]", "127.0.0.1"))


# The SDK itself would listen on every address of the machine.
uvicorn.Config = OnLoopback
rpc.Server = RpcOnLoopback

from kserve import Model, ModelServer  # noqa: E402
from kserve.utils.utils import get_predict_input, get_predict_response  # noqa: E402


class Served(Model):
    def __init__(self, kind: str, path: str) -> None:
        super().__init__("m")
        self._predict = KINDS[kind](path)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        result = self._predict(get_predict_input(payload))
        return get_predict_response(payload, result, self.name)


def sklearn(path):
    import joblib

    return joblib.load(f"{path}/model.joblib").predict


def openvino(path):
    import openvino

    compiled = openvino.Core().compile_model(
        f"{path}/1/model.xml", "CPU", {"PERFORMANCE_HINT": "LATENCY"}
    )
    return lambda rows: compiled([rows])[0]


KINDS = {"sklearn": sklearn, "openvino": openvino, "identity": lambda path: lambda rows: rows}

if __name__ == "__main__":
    kind, path, port, *rpc_port = sys.argv[1:]
    ports = {"http_port": int(port), "enable_grpc": bool(rpc_port)}
    if rpc_port:
        ports["grpc_port"] = int(rpc_port[0])
    ModelServer(**ports).start([Served(kind, path)])
