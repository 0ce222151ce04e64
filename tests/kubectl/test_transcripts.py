"""The real kubectl does here, word for word, what it does on a cluster."""

import os
from pathlib import Path

import pytest

from tests.kubectl.transcript import read, write

pytestmark = pytest.mark.slow

TRANSCRIPTS = Path(__file__).parent / "transcripts"
FILES = {path.stem: read(path) for path in sorted(TRANSCRIPTS.glob("*.txt"))}
SCENES = [(name, scene) for name, scenes in FILES.items() for scene in scenes]
WRITES = os.environ.get("MOTORPOOL_TRANSCRIPTS") == "write"


@pytest.mark.parametrize(
    ("name", "scene"), SCENES, ids=[f"{name}: {scene.title}" for name, scene in SCENES]
)
def test_kubectl_does(name, scene, shell):
    here = shell()
    for step in scene.steps:
        done = here.run(step.command)
        if WRITES:
            step.answer, step.code = done.answer, done.code
            write(TRANSCRIPTS / f"{name}.txt", FILES[name])
        else:
            assert done.text() == step.text()
