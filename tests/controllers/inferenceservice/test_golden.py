"""One pair of files per behaviour: what a user writes, and the children it becomes.

Each ``*.in.yaml`` holds an InferenceService and what it depends on. Without a ConfigMap the shipped
configuration holds; ``runtime: NAME`` in a first document stands for the shipped runtime. A
document of kind Cluster, which is no object, stands for the API server, which is ours otherwise.
What is refused has its reason and message in place of children.
"""

from pathlib import Path

import pytest
import yaml

from motorpool.api import serving
from motorpool.api.meta import copy_of
from motorpool.controllers.inferenceservice.refusal import Refusal
from tests.controllers.inferenceservice.objects import children, shipped

CASES = sorted((Path(__file__).parent / "testdata").glob("*.in.yaml"))


def documents_of(path: Path) -> list[dict]:
    documents = [d for d in yaml.safe_load_all(path.read_text()) if d]
    return [shipped(d["runtime"]) if "runtime" in d else d for d in documents]


def named(path: Path) -> str:
    return path.name.removesuffix(".in.yaml")


@pytest.mark.parametrize("path", CASES, ids=named)
def test_the_children_are_those_of_the_golden_file(path, golden):
    golden.check(path.with_name(f"{named(path)}.out.yaml"), _plain(decided(documents_of(path))))


@pytest.mark.parametrize("path", CASES, ids=named)
def test_the_same_input_gives_the_same_children_and_is_not_changed(path):
    first, second = documents_of(path), documents_of(path)
    wanted = next(d for d in first if d["kind"] == "InferenceService")
    assert decided(first) == decided(second)
    defaulted = copy_of(wanted)
    serving.INFERENCE_SERVICE.default(defaulted)
    assert defaulted == wanted, "defaulting twice is defaulting once, and deciding changes nothing"


def decided(documents: list[dict]) -> list[dict]:
    try:
        return children(documents)
    except Refusal as refusal:
        return [{"refused": {"reason": refusal.reason, "message": refusal.message}}]


def test_there_is_a_case_for_each_documented_behaviour():
    assert len(CASES) >= 240


def _plain(objects: list[dict]) -> list[dict]:
    """Without YAML's aliases for what objects share."""
    return [copy_of(yaml.safe_load(_dump(obj))) for obj in objects]


def _dump(obj: dict) -> str:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, _):
            return True

    return yaml.dump(obj, Dumper=Dumper, sort_keys=False)
