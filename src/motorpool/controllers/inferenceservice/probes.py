"""The readiness probe of a serving container that has none. Pure.

KServe opens a TCP connection, which succeeds as soon as the server listens. OpenVINO Model Server
listens before its model is loaded, so where the arguments show that server the probe asks for the
model itself: Ready then means that the model answers.
"""

import re
from collections.abc import Sequence

from motorpool.api.meta import Object

DEFAULT_PORT = 8080
TIMING = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_URL_SAFE = re.compile(r"[A-Za-z0-9._~-]+")


def readiness_probe(container: Object) -> Object:
    """The probe for a container without one."""
    args = container.get("args") or ()
    rest_port, model = _flag(args, "rest_port"), _flag(args, "model_name")
    if rest_port.isdigit() and _URL_SAFE.fullmatch(model) and _flag(args, "model_path"):
        path = f"/v2/models/{model}/ready"
        return {"httpGet": {"path": path, "port": int(rest_port), "scheme": "HTTP"}, **TIMING}
    return {"tcpSocket": {"port": first_port(container)}, **TIMING}


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
