"""The readiness probe of a serving container that has none. Pure.

KServe opens a TCP connection, which succeeds as soon as the server listens. A server may listen
before its model is loaded, so where the arguments show OpenVINO Model Server or one of KServe's own
servers, or the variables MLServer, the probe asks for the model itself: Ready then means that the
model answers. Triton, TensorFlow Serving and vLLM listen only once theirs are loaded.
"""

import re
from collections.abc import Sequence

from motorpool.api.meta import Object

DEFAULT_PORT = 8080
TIMING = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
SERVERS = (("rest_port", "model_path"), ("http_port", "model_dir"))
"""How OpenVINO Model Server and KServe's servers are told their port and their model."""
_URL_SAFE = re.compile(r"[A-Za-z0-9._~-]+")


def readiness_probe(container: Object) -> Object:
    """The probe for a container without one."""
    args = container.get("args") or ()
    port, model = "", _flag(args, "model_name")
    for port_flag, path_flag in SERVERS:
        if _flag(args, path_flag):
            port = _flag(args, port_flag)
    if not port:
        port, model = _of_mlserver(container)
    if port.isdigit() and _URL_SAFE.fullmatch(model):
        path = f"/v2/models/{model}/ready"
        return {"httpGet": {"path": path, "port": int(port), "scheme": "HTTP"}, **TIMING}
    return {"tcpSocket": {"port": first_port(container)}, **TIMING}


def _of_mlserver(container: Object) -> tuple[str, str]:
    """Its port and its model; a server that starts without a model has none."""
    env = {v.get("name"): str(v.get("value") or "") for v in container.get("env") or ()}
    if "MLSERVER_MODEL_URI" not in env:
        return "", ""
    return env.get("MLSERVER_HTTP_PORT") or str(DEFAULT_PORT), env.get("MLSERVER_MODEL_NAME", "")


def first_port(container: Object) -> int:
    ports = container.get("ports") or ()
    return int(ports[0]["containerPort"]) if ports else DEFAULT_PORT


def _flag(args: Sequence[str], name: str) -> str:
    """The last value of `--name=value` or `--name value`; "" where it is not given."""
    value = ""
    for number, arg in enumerate(args):
        if arg.startswith(f"--{name}="):
            value = arg.partition("=")[2]
        elif arg == f"--{name}" and number + 1 < len(args):
            value = args[number + 1]
    return value
