"""What `motorpool images` says of the local images table."""

import json
import sys

import pytest
from click.testing import CliRunner

from motorpool.cli.images import images

OWN = """
images:
- match: ["registry.example.com/echo*"]
  command: [/usr/bin/cat]
  args: [/etc/hostname]
  keepArgs: false
  env: {COLOR: blue}
- match: ["registry.example.com/echo:2"]
  command: [never]
- match: ["*/rare"]
  command: [rare]
  requires: no_such_module
"""


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "local-images.yaml").write_text(OWN)

    def run(*words):
        return CliRunner().invoke(images, [*words, "--data-dir", str(tmp_path)])

    return run


def test_the_entry_and_the_program_of_an_image_are_shown(ask, tmp_path):
    done = ask("explain", "registry.example.com/echo:2")
    assert done.exit_code == 0
    where = f"{tmp_path}/local-images.yaml: registry.example.com/echo*"
    assert done.output.splitlines() == [
        "image    registry.example.com/echo:2",
        f"entry    {where} matches registry.example.com/echo:2",
        "runs     /usr/bin/cat",
        "         with /etc/hostname where the container names no arguments",
        "         without the container's arguments",
        "env      COLOR=blue",
    ]


def test_shipped_entries_name_what_is_forked_and_where_it_listens(ask):
    done = ask("explain", "docker.io/openvino/model_server:latest")
    assert f"runs     {sys.executable} -m motorpool.modelserver" in done.output
    assert "entry    shipped with Motorpool: openvino/model_server* matches" in done.output
    assert "forked from a process that has motorpool.modelserver.main loaded" in done.output
    assert "with --rest_bind_address at the Pod's address" in done.output


def test_json_has_the_words_of_the_file(ask):
    document = json.loads(ask("explain", "registry.example.com/echo", "-o", "json").output)
    assert document["image"] == "registry.example.com/echo"
    assert document["passedOver"] == []
    entry = document["entry"]
    assert (entry["pattern"], entry["matched"]) == (
        "registry.example.com/echo*", "registry.example.com/echo",
    )  # fmt: skip
    assert entry["command"] == ["/usr/bin/cat"]
    assert (entry["keepCommand"], entry["keepArgs"], entry["env"]) == (
        False, False, {"COLOR": "blue"},
    )  # fmt: skip


def test_an_entry_that_lacks_its_module_is_passed_over_by_name(ask):
    done = ask("explain", "x/rare")
    assert done.exit_code == 1
    assert "*/rare matches x/rare: needs the Python module no_such_module" in done.output
    assert "entry    none" in done.output
    assert 'Container image "x/rare" has no program on this machine: add an entry' in done.output


def test_the_list_has_every_entry_in_order(ask):
    done = ask("ls", "-o", "json")
    rows = json.loads(done.output)
    assert [row["command"] for row in rows[:2]] == [["/usr/bin/cat"], ["never"]]
    assert rows[-1]["source"] == "shipped with Motorpool"
    text = ask("ls").output
    assert "only where no_such_module is installed" in text
    assert "the container's command" in text
    assert "  busybox\n" in text


def test_a_file_that_cannot_be_used_names_the_place(tmp_path):
    (tmp_path / "local-images.yaml").write_text("images:\n- match: [x]\n  comand: [y]\n")
    done = CliRunner().invoke(images, ["ls", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "images[0].comand: no such field; there are match, command" in done.output
