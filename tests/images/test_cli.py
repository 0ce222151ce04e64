import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from motorpool.base.datadir import data_dir
from motorpool.cli.modelcar import modelcar

NAME = "localhost/ovms-resnet50:test"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOTORPOOL_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(modelcar, [str(word) for word in words])


def test_build_prints_the_full_name_and_the_digest(model: Path) -> None:
    result = run("build", model, "-t", "ovms-resnet50:test")

    assert result.exit_code == 0
    name, digest = result.stdout.splitlines()
    assert name == NAME
    assert digest.startswith("sha256:")
    assert result.stderr == ""


def test_every_verb_speaks_json(model: Path) -> None:
    built = json.loads(run("build", model, "-t", NAME, "--output", "json").stdout)
    listed = json.loads(run("ls", "-o", "json").stdout)
    shown = json.loads(run("inspect", NAME, "-o", "json").stdout)
    removed = json.loads(run("rm", NAME, "-o", "json").stdout)

    assert built["reference"] == NAME
    assert [one["digest"] for one in listed] == [built["digest"]]
    assert listed[0]["sizeBytes"] == 76806
    assert (shown["digest"], shown["usedBy"]) == (built["digest"], [])
    assert removed["freedBytes"] > 76806
    assert json.loads(run("ls", "-o", "json").stdout) == []


def test_ls_and_inspect_are_tables_for_people(model: Path) -> None:
    run("build", model, "-t", NAME)

    assert run("ls").stdout.splitlines()[1].split()[:1] == [NAME]
    assert "76.8 kB" in run("ls").stdout
    assert "76.8 kB" in run("inspect", NAME).stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("build", "/none", "-t", "a"), "'/none' is not a directory"),
        (("build", ".", "-t", "A"), "'A' must be lower case"),
        (("inspect", "a"), "localhost/a:latest is not on this machine"),
        (("rm", "a"), "`motorpool modelcar ls` lists what is"),
        (("push", "a"), "is not on this machine"),
        (("pull", "oci://a"), "has a scheme"),
        (("pull", "127.0.0.1:1/a"), "registry 127.0.0.1:1 cannot be reached"),
    ],
)
def test_a_mistake_is_one_line_and_a_non_zero_exit(
    words: tuple[str, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motorpool.images.registry.TRIES_MAX", 1)

    result = run(*words)

    assert result.exit_code == 1
    assert why in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_every_verb_has_help_with_an_example_and_a_data_dir() -> None:
    assert set(modelcar.commands) == {"build", "pull", "push", "ls", "inspect", "rm"}
    for name in modelcar.commands:
        text = run(name, "--help").stdout
        assert f"Example:  motorpool modelcar {name}" in text
        assert "--data-dir" in text
        assert isinstance(modelcar.commands[name], click.Command)


def test_data_dir_is_taken_from_the_option_first(home: Path, tmp_path: Path, model: Path) -> None:
    run("build", model, "-t", NAME, "--data-dir", tmp_path / "other")

    assert not home.exists()
    assert (tmp_path / "other" / "images" / "index.json").exists()


def test_where_the_data_lies_without_any_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_dir(None).name == "data"
    monkeypatch.delenv("MOTORPOOL_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", "/x")
    assert data_dir(None) == Path("/x/motorpool")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/h")
    assert data_dir(None) == Path("/h/.local/share/motorpool")
    assert data_dir("~/d") == Path("/h/d")


def test_help_loads_neither_http_nor_progress_bars() -> None:
    code = (
        "import sys, motorpool.cli.modelcar, motorpool.images.store;"
        "heavy = {'httpx', 'rich', 'zstandard'} & set(sys.modules);"
        "sys.exit(' '.join(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True
    )

    assert done.stderr.decode().strip() == ""
