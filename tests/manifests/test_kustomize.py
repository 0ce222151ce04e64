"""Our kustomizations are kubectl's: the same objects, in the same order, with the same hashes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from motorpool.manifests.kustomize.build import build
from motorpool.manifests.kustomize.kustomization import Unsupported
from motorpool.manifests.kustomize.resource import KustomizeError
from tests.manifests.cases import BASE, CASES, over
from tests.programs import program

ROOT = Path(__file__).parents[2]


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "over"


def kubectl_builds(directory: Path) -> list[Any]:
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(directory)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if one is not None]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_built_is_what_kubectl_builds(case: str, tmp_path: Path) -> None:
    directory = written(tmp_path, CASES[case])

    ours, theirs = build(directory), kubectl_builds(directory)

    for mine, other in zip(ours, theirs, strict=False):
        assert mine == other, json.dumps([mine, other], indent=1)
    assert len(ours) == len(theirs)


@pytest.mark.slow
def test_what_is_deployed_on_clusters_is_built_the_same() -> None:
    assert build(ROOT / "deploy") == kubectl_builds(ROOT / "deploy")


def test_binary_files_are_kept_apart(tmp_path: Path) -> None:
    directory = written(
        tmp_path, {"over/kustomization.yaml": "configMapGenerator: [{name: a, files: [b, c]}]"}
    )
    (directory / "b").write_bytes(b"\xff\xfe")
    (directory / "c").write_bytes(b"text")

    (made,) = build(directory)

    assert (made["binaryData"], made["data"]) == ({"b": "//4="}, {"c": "text"})


REFUSED = {
    "components: [x]": "components is not understood here",
    "patches: [{patch: '[]', target: {kind: A}, more: 1}]": r"patches\[0\].more is not understood",
    "resources: [https://example.com/x]": "is not on this machine",
    "resources: [../../secret.yaml]": "is not below",
    "resources: [none.yaml]": "No such file or directory",
    "resources: [../over]": "is a base of itself",
    "namespace: [a]": "namespace must be of type str",
    "images: [{newTag: a}]": r"images\[0\].name is required",
    "replicas: [{name: none, count: 1}]": "nothing that scales is called none",
    "configMapGenerator: [{name: a, behavior: merge}]": "nothing is there to merge",
    "configMapGenerator: [{name: a, literals: [b]}]": "expected KEY=VALUE",
    "configMapGenerator: [{name: a, literals: [b=1, b=2]}]": "b is given twice",
    "configMapGenerator: [{name: a}, {name: a}]": "is there already",
    "patches: [{target: {kind: A}}]": "neither path nor patch",
    "patches: [{patch: '[]'}]": "a JSON patch needs a target",
    "resources: [a.yaml, a.yaml]": "ConfigMap a is there twice",
    "apiVersion: kustomize.config.k8s.io/v9": "apiVersion kustomize.config.k8s.io/v9 is not known",
    "kind: Component": "a Component; only a Kustomization is understood",
    "a: [": "error converting YAML",
    "resources: [broken.yaml]": "a ConfigMap without metadata.name",
    "patches: [{patch: '{apiVersion: v1, kind: A, metadata: {name: b}}'}]": "there is no A b",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_built_is_refused_with_its_place(text: str, tmp_path: Path) -> None:
    files = {
        "over/kustomization.yaml": text,
        "over/a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}",
        "over/broken.yaml": "{apiVersion: v1, kind: ConfigMap}",
        "secret.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: secret}}",
    }
    with pytest.raises(KustomizeError, match=REFUSED[text]) as refused:
        build(written(tmp_path, files))
    assert "over" in str(refused.value) or "yaml" in str(refused.value)


def test_what_only_kustomize_can_build_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        build(written(tmp_path, over("helmCharts: [{name: x}]")))


def test_a_directory_has_one_kustomization(tmp_path: Path) -> None:
    with pytest.raises(KustomizeError, match="no kustomization in"):
        build(tmp_path)
    directory = written(tmp_path, {**BASE, **over("")})
    (directory / "Kustomization").write_text("")
    with pytest.raises(KustomizeError, match="more than one kustomization in"):
        build(directory)
