"""URL and verb -> what is asked for. Pure.

OpenVINO Model Server's answers: an unknown address is not "not found" but a wrong request, and a
known one with another verb is "not acceptable".
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from motorpool.modelserver.errors import NotFound, UnknownAddress, UnsupportedMethod


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
    MODEL_SIGNATURE = auto()  # V1
    CONFIG = auto()
    CONFIG_RELOAD = auto()
    METRICS = auto()
    # Of KServe's own servers, whose place tables are served in.
    ALIVE = auto()
    MODELS = auto()


class Route(NamedTuple):
    endpoint: Endpoint
    model: str = ""
    version: int | None = None  # None: the highest that is available


_FIXED = {
    "/v2": Endpoint.SERVER_METADATA,
    "/v2/health/live": Endpoint.SERVER_LIVE,
    "/v2/health/ready": Endpoint.SERVER_READY,
    "/v1/config": Endpoint.CONFIG,
    "/v1/config/reload": Endpoint.CONFIG_RELOAD,
    "/metrics": Endpoint.METRICS,
    "/": Endpoint.ALIVE,
    "/v1/models": Endpoint.MODELS,
    "/v2/models": Endpoint.MODELS,
}
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]{1,18}))?(/|/ready|/infer)?")
_SUFFIX = {
    None: Endpoint.MODEL_METADATA,
    "/": Endpoint.MODEL_METADATA,
    "/ready": Endpoint.MODEL_READY,
    "/infer": Endpoint.MODEL_INFER,
}
# A label is read and passed over, as in OpenVINO Model Server: the default version answers.
_MODEL_V1 = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18})|/labels/[^/:]+)?"
    r"(:predict|:classify|:regress|/metadata)?"
)
_SUFFIX_V1 = {
    None: Endpoint.MODEL_STATUS,
    ":predict": Endpoint.MODEL_PREDICT,
    "/metadata": Endpoint.MODEL_SIGNATURE,
}
_POSTED = (Endpoint.MODEL_INFER, Endpoint.MODEL_PREDICT, Endpoint.CONFIG_RELOAD)
_METHODS = ("GET", "POST", "OPTIONS")


def route(method: str, path: str) -> Route:
    """Raises UnknownAddress, UnsupportedMethod, NotFound. *path* comes without its query."""
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
        name, version, suffix = match.groups()
        if suffix not in _SUFFIX_V1:
            raise NotFound("Requested REST resource not found")
        return Route(_SUFFIX_V1[suffix], name, _number(version))
    match = _MODEL.fullmatch(path)
    if match is None:
        raise UnknownAddress
    name, version, suffix = match.groups()
    return Route(_SUFFIX[suffix], name, _number(version))


def _number(version: str | None) -> int | None:
    """None for the default, which old clients of OpenVINO Model Server ask for as 0."""
    return int(version or 0) or None
