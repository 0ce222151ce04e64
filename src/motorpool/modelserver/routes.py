"""URL and verb -> what is asked for. Pure.

OpenVINO Model Server's answers: an unknown address is not "not found" but a wrong request, and a
known one with another verb is "not acceptable".
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from motorpool.modelserver.errors import UnknownAddress, UnsupportedMethod


class Endpoint(Enum):
    PREFLIGHT = auto()
    SERVER_METADATA = auto()
    SERVER_LIVE = auto()
    SERVER_READY = auto()
    MODEL_METADATA = auto()
    MODEL_READY = auto()
    MODEL_INFER = auto()
    MODEL_PREDICT = auto()  # V1
    MODEL_STATUS = auto()  # V1
    METRICS = auto()


class Route(NamedTuple):
    endpoint: Endpoint
    model: str = ""
    version: int | None = None  # None: the highest that is available


_FIXED = {
    "/v2": Endpoint.SERVER_METADATA,
    "/v2/health/live": Endpoint.SERVER_LIVE,
    "/v2/health/ready": Endpoint.SERVER_READY,
    "/metrics": Endpoint.METRICS,
}
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]{1,18}))?(/|/ready|/infer)?")
_SUFFIX = {
    None: Endpoint.MODEL_METADATA,
    "/": Endpoint.MODEL_METADATA,
    "/ready": Endpoint.MODEL_READY,
    "/infer": Endpoint.MODEL_INFER,
}
_MODEL_V1 = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?(:predict)?")
_POSTED = (Endpoint.MODEL_INFER, Endpoint.MODEL_PREDICT)
_METHODS = ("GET", "POST", "OPTIONS")


def route(method: str, path: str) -> Route:
    """Raises UnknownAddress, UnsupportedMethod. *path* comes without its query."""
    if method not in _METHODS:
        raise UnsupportedMethod
    if ".." in path:
        raise UnknownAddress
    if method == "OPTIONS":
        return Route(Endpoint.PREFLIGHT)
    found = _route(path)
    if method != ("POST" if found.endpoint in _POSTED else "GET"):
        raise UnsupportedMethod
    return found


def _route(path: str) -> Route:
    if fixed := _FIXED.get(path):
        return Route(fixed)
    if match := _MODEL_V1.fullmatch(path):
        name, version, predict = match.groups()
        endpoint = Endpoint.MODEL_PREDICT if predict else Endpoint.MODEL_STATUS
        return Route(endpoint, name, int(version) if version else None)
    match = _MODEL.fullmatch(path)
    if match is None:
        raise UnknownAddress
    name, version, suffix = match.groups()
    return Route(_SUFFIX[suffix], name, int(version) if version else None)
