import pytest

from motorpool.modelserver.errors import UnknownAddress, UnsupportedMethod
from motorpool.modelserver.routes import Endpoint, Route, route


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2", Route(Endpoint.SERVER_METADATA)),
        ("GET", "/v2/health/live", Route(Endpoint.SERVER_LIVE)),
        ("GET", "/v2/health/ready", Route(Endpoint.SERVER_READY)),
        ("GET", "/metrics", Route(Endpoint.METRICS)),
        ("GET", "/", Route(Endpoint.ALIVE)),
        ("GET", "/v1/models", Route(Endpoint.MODELS)),
        ("GET", "/v2/models", Route(Endpoint.MODELS)),
        ("GET", "/v2/models/m", Route(Endpoint.MODEL_METADATA, "m")),
        ("GET", "/v2/models/m/", Route(Endpoint.MODEL_METADATA, "m")),
        ("GET", "/v2/models/m/versions/2", Route(Endpoint.MODEL_METADATA, "m", 2)),
        ("GET", "/v2/models/m/ready", Route(Endpoint.MODEL_READY, "m")),
        ("GET", "/v2/models/m/versions/12/ready", Route(Endpoint.MODEL_READY, "m", 12)),
        ("POST", "/v2/models/m/infer", Route(Endpoint.MODEL_INFER, "m")),
        ("POST", "/v2/models/a b/versions/1/infer", Route(Endpoint.MODEL_INFER, "a b", 1)),
        ("OPTIONS", "/anything", Route(Endpoint.PREFLIGHT)),
    ],
)
def test_an_address_leads_to_what_it_names(method, path, expected):
    assert route(method, path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/foo",
        "/v2/",
        "/v2/health",
        "/v2/health/live/",
        "/v2/models/",
        "/v2/models/m/infer/",
        "/v2/models/m/versions/x/ready",
        "/v2/models/m/versions/-1/ready",
        "/v2/models/a/b/ready",
        "/v2/models/../ready",
    ],
)
def test_any_other_address_is_unknown(path):
    with pytest.raises(UnknownAddress):
        route("GET", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v2"),
        ("HEAD", "/v2"),
        ("DELETE", "/nowhere"),
        ("POST", "/v2/health/live"),
        ("POST", "/metrics"),
        ("GET", "/v2/models/m/infer"),
    ],
)
def test_a_wrong_verb_is_unsupported(method, path):
    with pytest.raises(UnsupportedMethod):
        route(method, path)


@pytest.mark.parametrize(
    "path", ["/v1/models/m/versions/0:predict", "/v2/models/m/versions/0/infer"]
)
def test_version_zero_is_the_default(path):
    assert route("POST", path).version is None
