"""An operator on kopf: its discovery, its finalizer, its patches, its events."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform import eventually

pytest.importorskip("kopf")
pytestmark = pytest.mark.slow

OPERATOR = Path(__file__).with_name("operator_of_maps.py")
FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"


@pytest.fixture
def operator(platform, tmp_path):
    log = (tmp_path / "operator.log").open("w+")
    words = [sys.executable, "-m", "kopf", "run", "-n", "default", "--standalone", str(OPERATOR)]
    with subprocess.Popen(words, env=platform.environment, stdout=log, stderr=log) as child:
        try:
            yield tmp_path / "operator.log"
        finally:
            child.terminate()
    log.close()


def annotations(platform):
    found = platform.kubectl_json("get", "cm", "operated")["metadata"].get("annotations", {})
    return {key: value for key, value in found.items() if key.startswith("operator/")}


def test_an_operator_handles_creation_change_time_and_deletion(platform, operator):
    platform.kubectl("create", "cm", "operated", "--from-literal=color=blue")
    platform.kubectl("label", "cm", "operated", "operated=yes")
    eventually(
        lambda: annotations(platform) == {"operator/created": "blue", "operator/ticked": "yes"},
        what="the annotations of the creation",
    )
    finalizers = platform.kubectl_json("get", "cm", "operated")["metadata"]["finalizers"]
    assert finalizers == [FINALIZER]
    platform.kubectl("patch", "cm", "operated", "-p", '{"data":{"color":"red"}}')
    eventually(lambda: annotations(platform).get("operator/updated") == "red", what="the change")
    platform.kubectl("delete", "cm", "operated", "--timeout=60s")
    assert "deleted operated" in operator.read_text()
    eventually(
        lambda: "seen by the operator" in platform.kubectl("get", "events"), what="the event"
    )
