"""The rules in deploy/crds, asked both ways: of the built-in kinds, and as definitions of somebody.

Both must refuse the same objects in the same words, for the second is what any cluster does.
"""

import copy
from pathlib import Path

import pytest
import yaml

from tests.definitions.serving_mistakes import CHANGES, FINE, MISTAKES

FOLDER = Path(__file__).parents[2] / "deploy/crds"
OWN, OTHER = "serving.kserve.io", "serving.kserve.example"
KINDS = ("inferenceservices", "servingruntimes", "inferencegraphs", "trainedmodels")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def defined_by(file, group):
    definition = yaml.load(file.read_text(), Loader=LOADER)
    definition["metadata"]["name"] = f"{definition['spec']['names']['plural']}.{group}"
    definition["spec"]["group"] = group
    return definition


@pytest.fixture
async def asked(defined, http):
    """Sends an object to both; gives what each of them says of it, "" where it is fine."""
    for plural in KINDS:
        await defined.established(defined_by(FOLDER / f"{plural}.{OWN}.yaml", OTHER))

    async def ask(obj, old=None):
        return [await _answer(http, obj, group, old) for group in (OWN, OTHER)]

    return ask


async def _answer(http, obj, group, old):
    version = obj["apiVersion"].partition("/")[2]
    path = f"/apis/{group}/{version}/namespaces/default/{obj['kind'].lower()}s"
    if old is not None:
        first = await http.post(path, json=_of(old, group))
        assert first.status_code == 201, first.text
        metadata = {**first.json()["metadata"]}
        name = metadata["name"]
        new = {**_of(obj, group), "metadata": metadata}
        answer = await http.put(f"{path}/{name}", json=new, params={"dryRun": "All"})
    else:
        answer = await http.post(path, json=_of(obj, group), params={"dryRun": "All"})
    return "" if answer.status_code in (200, 201) else answer.json()["message"]


def _of(obj, group):
    version = obj["apiVersion"].partition("/")[2]
    return {**copy.deepcopy(obj), "apiVersion": f"{group}/{version}"}


async def test_each_mistake_is_refused_in_the_same_words_on_any_cluster(asked):
    for name, (obj, text) in MISTAKES.items():
        here, elsewhere = await asked(obj)
        assert text in here, f"{name}: {here}"
        assert here.replace(OWN, OTHER) == elsewhere, name


async def test_what_is_fine_is_taken_here_and_elsewhere(asked):
    for name, obj in FINE.items():
        assert await asked(obj) == ["", ""], name


async def test_changes_that_may_not_be_are_refused_here_and_elsewhere(asked):
    for name, (old, new, text) in CHANGES.items():
        here, elsewhere = await asked(new, old)
        assert text in here, f"{name}: {here}"
        assert here.replace(OWN, OTHER) == elsewhere, name
