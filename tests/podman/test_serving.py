"""An InferenceService whose container is an image of its own, behind a Route."""

import pytest

from tests.platform import eventually
from tests.podman.conftest import apply
from tests.registry import registry  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

SERVE = """
mkdir -p /www/v1/models /www/cgi-bin
echo '{"name": "own", "ready": true}' > /www/v1/models/own
printf '#!/bin/sh\\necho Content-Type: text/plain\\necho\\ncat\\n' > /www/cgi-bin/echo
chmod +x /www/cgi-bin/echo
exec httpd -f -p 8080 -h /www
"""


def test_a_custom_container_is_served_behind_a_route(platform, world):
    container = {
        "name": "kserve-container", "image": world.image, "command": ["/bin/sh", "-c", SERVE],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/v1/models/own", "port": 8080}},
    }  # fmt: skip
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "own", "namespace": "default",
                     "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"}},
        "spec": {"predictor": {"terminationGracePeriodSeconds": 1, "containers": [container]}},
    }  # fmt: skip
    route = {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": "own-predictor", "namespace": "default"},
        "spec": {"to": {"kind": "Service", "name": "own-predictor"}, "port": {"targetPort": 8080}},
    }
    apply(platform, service, route)
    platform.kubectl("wait", "--for=condition=Ready", "isvc/own", "--timeout=60s")
    [pod] = platform.kubectl_json("get", "pods", "-l", "serving.kserve.io/inferenceservice=own")[
        "items"
    ]
    assert pod["spec"]["containers"][0]["image"] == world.image
    url = "http://own-predictor-default.apps.localhost"
    answer = eventually(lambda: platform.curl(f"{url}/v1/models/own"))
    assert answer == '{"name": "own", "ready": true}\n'
    assert platform.curl(f"{url}/cgi-bin/echo", "-d", "to and fro") == "to and fro"
    platform.kubectl("delete", "isvc", "own", "--wait=false")
