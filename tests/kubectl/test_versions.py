"""The main commands with every kubectl that stands beside the one on the PATH.

Google's kubectl is a dispatcher with one binary per minor version next to it. They are extras:
where they are absent, under CI too, the tests are skipped. Old versions differ in a few words of
their own; what `versions.txt` says is what all of them print.
"""

import shutil
from pathlib import Path

import pytest

from tests.kubectl.transcript import read

pytestmark = pytest.mark.slow

SCENES = read(Path(__file__).parent / "versions.txt")


def versions():
    found = shutil.which("kubectl")
    beside = Path(found).resolve().parent if found else Path("/nowhere")
    return sorted(beside.glob("kubectl.1.*"))


@pytest.mark.parametrize("scene", SCENES, ids=[scene.title for scene in SCENES])
@pytest.mark.parametrize("kubectl", versions(), ids=lambda path: path.name)
def test_every_version_does(kubectl, scene, shell):
    here = shell(kubectl)
    for step in scene.steps:
        assert here.run(step.command).text() == step.text()
