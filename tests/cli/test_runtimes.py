"""Which runtimes run here, and what the others lack."""

import json

import yaml
from click.testing import CliRunner

from motorpool.cli.runtimes import rows_of, runtimes


def by_name(**machine):
    return {row.name: row for row in rows_of(**machine)}


def test_a_runtime_runs_where_all_its_images_have_programs():
    rows = by_name(stands_in=lambda image: image == "tgis-image", importable=lambda _: True)
    assert rows["tgis-grpc-runtime"].missing == []
    assert rows["caikit-tgis-runtime"].missing == [
        "a program for image caikit-tgis-image: add it to local-images.yaml, or use a cluster"
    ]


def test_a_missing_module_is_named_with_its_installation():
    rows = by_name(stands_in=lambda _: True, importable=lambda module: module != "sklearn")
    assert rows["kserve-sklearnserver"].missing == [
        "the Python module sklearn: pip install motorpool[sklearn]"
    ]
    assert rows["kserve-xgbserver"].missing == []


def test_the_list_as_json_says_how_each_is_installed(tmp_path):
    done = CliRunner().invoke(runtimes, ["ls", "--output", "json", "--data-dir", str(tmp_path)])
    found = {row["name"]: row for row in json.loads(done.output)}
    assert found["kserve-ovms"]["runsHere"] is True
    assert found["kserve-ovms"]["installedAs"] == ["ServingRuntime", "ClusterServingRuntime"]
    assert found["kserve-sklearnserver"]["installedAs"] == ["ClusterServingRuntime"]
    assert found["kserve-tritonserver"]["installedAs"] == []
    assert found["kserve-tritonserver"]["runsHere"] is False


def test_the_list_as_text_has_a_line_for_each_and_for_each_gap(tmp_path):
    done = CliRunner().invoke(runtimes, ["ls", "--data-dir", str(tmp_path)])
    assert done.exit_code == 0
    assert done.output.splitlines()[0].split() == ["NAME", "RUNS", "HERE", "INSTALLED", "FORMATS"]
    assert "missing: a program for image nvcr.io/nvidia/tritonserver" in done.output


def test_a_runtime_is_printed_to_be_applied():
    done = CliRunner().invoke(runtimes, ["show", "kserve-mlserver", "--cluster"])
    printed = yaml.safe_load(done.output)
    assert (printed["kind"], printed["metadata"]["name"]) == (
        "ClusterServingRuntime", "kserve-mlserver",
    )  # fmt: skip
    assert CliRunner().invoke(runtimes, ["show", "none"]).exit_code == 1
