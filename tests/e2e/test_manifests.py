"""Manifests that are there before the platform starts, and the guide's way to a runtime."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import MOTORPOOL, Platform, eventually
from tests.programs import program

pytestmark = pytest.mark.slow

APPS = "redhat-ods-applications"
# Of the guide, word by word; but for the root of the file system.
GUIDE = """
OVMS_IMAGE="$(jq -r '.images | with_entries(select(.key == "ovms-image")) | .[]' \
/usr/share/microshift/release/release-ai-model-serving-"$(uname -i)".json)"
cp /usr/lib/microshift/manifests.d/001-microshift-ai-model-serving/runtimes/ovms-kserve.yaml \
./ovms-kserve.yaml
sed -i "s,image: ovms-image,image: ${OVMS_IMAGE}," ./ovms-kserve.yaml
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: cars.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: cars, singular: car, kind: Car, listKind: CarList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: v1
kind: Namespace
metadata: {name: garage}
---
apiVersion: example.com/v1
kind: Car
metadata: {name: first}
"""
# As the guide's appendix has it: to change the settings, a later directory replaces them.
OVERRIDE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: inferenceservice-config}
data: {deploy: '{"defaultDeploymentMode": "RawDeployment", "told": "here"}'}
"""


def written(directory: Path, kustomization: str, **files: str) -> None:
    directory.mkdir(parents=True)
    (directory / "kustomization.yaml").write_text(kustomization)
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of MicroShift's packages are."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def platform(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    data_dir = tmp_path_factory.mktemp("manifests") / "data"
    found = data_dir / "manifests.d"
    written(found / "010-cars", "namespace: garage\nresources: [crd]".replace("crd", "crd.yaml"),
            crd=CRD)  # fmt: skip
    written(found / "020-settings", "namespace: redhat-ods-applications\nresources: [s.yaml]",
            s=OVERRIDE)  # fmt: skip
    written(found / "030-broken", "resources: [missing.yaml]")
    packages = f"{root}/usr/lib/microshift/manifests.d/*"
    platform = Platform(data_dir, "--manifests", packages)
    wrote = platform.run("release-info", "--write", str(root))
    assert wrote.returncode == 0, wrote.stderr
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


def rows(platform: Platform) -> dict[str, dict[str, str]]:
    listed = platform.run("manifests", "ls", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    return {Path(row["path"]).name: row for row in json.loads(listed.stdout)}


def test_they_are_applied_at_the_start_in_their_order(platform: Platform) -> None:
    eventually(lambda: rows(platform)["020-settings"]["state"] == "done")
    assert "first" in platform.kubectl("get", "cars", "-n", "garage")
    settings = platform.kubectl(
        "get", "cm", "-n", APPS, "inferenceservice-config", "-o", "yaml", "--show-managed-fields"
    )
    assert '"told": "here"' in settings
    assert "manager: kubectl" in settings


def test_one_that_cannot_be_built_is_told_where_its_user_looks(platform: Platform) -> None:
    broken = eventually(lambda: (r := rows(platform)["030-broken"])["state"] == "failing" and r)
    assert "missing.yaml: No such file or directory" in broken["error"]
    assert "missing.yaml" in platform.run("manifests", "ls").stdout
    described = eventually(
        lambda: "ManifestsFailed" in (text := platform.kubectl("describe", "node")) and text
    )
    assert "tried again every 10 s" in described
    # It is mended; the next try, and then those behind it, go on by themselves.
    broken_file = platform.data_dir / "manifests.d/030-broken/missing.yaml"
    broken_file.write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: mended}}")
    last = "050-microshift-ai-model-serving-runtimes"
    eventually(lambda: rows(platform)[last]["state"] == "done", deadline_s=60)
    assert "mended" in platform.kubectl("get", "cm", "mended")
    runtime = platform.kubectl_json("get", "servingruntime", "-n", APPS, "kserve-ovms")
    image = runtime["spec"]["containers"][0]["image"]
    assert image.startswith("quay.io/modh/openvino_model_server@sha256:")


def test_the_guides_lines_make_a_runtime_that_runs(
    platform: Platform, root: Path, tmp_path: Path
) -> None:
    program("jq")
    lines = GUIDE.replace("/usr/", f"{root}/usr/")
    bash = ["bash", "-euo", "pipefail", "-c", lines]
    done = subprocess.run(bash, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    platform.kubectl("create", "ns", "ai-demo")
    platform.kubectl("create", "-n", "ai-demo", "-f", str(tmp_path / "ovms-kserve.yaml"))
    image = platform.kubectl("get", "servingruntimes", "-n", "ai-demo", "-o",
                             "jsonpath={.items[0].spec.containers[0].image}")  # fmt: skip
    info = subprocess.run(
        [*MOTORPOOL, "release-info"], env=platform.environment, capture_output=True, check=True
    )
    assert image == json.loads(info.stdout)["images"]["ovms-image"]
    ran = platform.run("images", "explain", image)
    assert "motorpool.modelserver" in ran.stdout, ran.stdout + ran.stderr
