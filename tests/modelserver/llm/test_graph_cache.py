"""Graphs are kept, shared, bounded, and built again where they are torn."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from motorpool.modelserver.llm.checkpoint import Prepared, cache, prepare
from motorpool.modelserver.llm.checkpoint.cache import Cache
from motorpool.modelserver.llm.checkpoint.precision import hint
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint

OPTIONS = CheckpointOptions(precision="f32")
ROOM = 1 << 30


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def get(checkpoint: Path, folder: Path | None, options: CheckpointOptions = OPTIONS) -> Prepared:
    prepared = prepare(checkpoint, options, folder, ROOM)
    prepared.close()
    return prepared


def test_the_second_pod_finds_the_first_ones_graph(checkpoint: Path, folder: Path) -> None:
    first, second = get(checkpoint, folder), get(checkpoint, folder)
    assert (first.cached, second.cached) == (False, True)
    assert first.directory == second.directory
    assert (second.directory / "openvino_model.xml").is_file()


def test_a_copy_of_the_files_shares_it_wherever_it_is(checkpoint: Path, folder: Path) -> None:
    get(checkpoint, folder)
    shutil.copytree(checkpoint, checkpoint.with_name("other"))
    assert get(checkpoint.with_name("other"), folder).cached


@pytest.mark.parametrize(
    "options",
    [
        CheckpointOptions(precision="f32", quantization="int8"),
        CheckpointOptions(precision="f32", overrides=(("rms_norm_eps", 1e-3),)),
    ],
)
def test_other_options_make_another_graph(
    options: CheckpointOptions, checkpoint: Path, folder: Path
) -> None:
    get(checkpoint, folder)
    assert not get(checkpoint, folder, options).cached


def test_one_graph_is_computed_in_any_precision(checkpoint: Path, folder: Path) -> None:
    get(checkpoint, folder)
    assert get(checkpoint, folder, CheckpointOptions(precision="bf16")).cached


def test_the_length_makes_another_graph_only_where_it_matters(tmp_path: Path, folder: Path) -> None:
    short = CheckpointOptions(precision="f32", max_model_len=100)
    everywhere = make_checkpoint(tmp_path / "everywhere", "mistral")
    window = make_checkpoint(tmp_path / "window", "mistral", sliding_window=128)
    for checkpoint in (everywhere, window):
        get(checkpoint, folder)
    assert get(everywhere, folder, short).cached
    assert not get(window, folder, short).cached


def test_other_weights_of_the_same_size_and_time_make_another_graph(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    get(checkpoint, folder)
    tuned = make_checkpoint(tmp_path / "tuned", seed=2)
    for at in (checkpoint, tuned):
        os.utime(at / "model.safetensors", (1, 1))
    get(checkpoint, folder)
    assert not get(tuned, folder).cached


@pytest.mark.parametrize("name", ["openvino_model.bin", "openvino_model.xml", "complete.json"])
def test_a_torn_graph_is_built_again(name: str, checkpoint: Path, folder: Path) -> None:
    directory = get(checkpoint, folder).directory
    os.truncate(directory / name, (directory / name).stat().st_size // 2)
    again = get(checkpoint, folder)
    assert not again.cached
    assert get(checkpoint, folder).cached


def test_a_power_loss_that_left_holes_is_noticed_on_the_next_boot(
    checkpoint: Path, folder: Path
) -> None:
    directory = get(checkpoint, folder).directory
    _boot_again(directory)
    assert get(checkpoint, folder).cached  # it is whole, and from now on known to be
    assert json.loads((directory / "complete.json").read_text())["boot"] == cache._boot()
    _boot_again(directory)
    with (directory / "openvino_model.bin").open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))
    assert not get(checkpoint, folder).cached


def test_two_at_once_build_it_once(checkpoint: Path, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        prepared = list(pool.map(lambda _: get(checkpoint, folder), range(4)))
    assert sorted(one.cached for one in prepared) == [False, True, True, True]


def test_what_a_killed_builder_left_is_in_nobodys_way(checkpoint: Path, folder: Path) -> None:
    left = get(checkpoint, None).directory.name
    directory = get(checkpoint, folder).directory
    unfinished = directory.with_name(directory.name + ".building")
    directory.rename(unfinished)
    (unfinished / "complete.json").unlink()
    again = get(checkpoint, folder)
    assert (again.cached, again.directory) == (False, directory)
    assert not unfinished.exists()
    assert left not in {path.name for path in folder.rglob("*")}


def test_the_cache_is_bounded_and_forgets_what_was_not_asked_for_the_longest(
    checkpoint: Path, folder: Path
) -> None:
    kept = Cache(folder, 2500)

    def ask(key: str) -> bool:
        entry = kept.get(key) or kept.put(key, _thousand_bytes, 1000)
        entry.close()
        return entry.cached

    assert [ask("a"), ask("b")] == [False, False]
    os.utime(folder / "llm-graphs" / "a" / "complete.json", (1, 1))
    os.utime(folder / "llm-graphs" / "b" / "complete.json", (2, 2))
    assert ask("a")  # asked for: b is the older now
    assert not ask("c")
    assert [ask("a"), ask("c"), ask("b")] == [True, True, False]


def test_what_is_in_use_is_not_removed(folder: Path) -> None:
    kept = Cache(folder, 1500)
    held = kept.put("held", _thousand_bytes, 1000)
    kept.put("next", _thousand_bytes, 1000).close()
    assert (held.directory / "data").stat().st_size == 1000
    held.close()


def test_what_is_larger_than_the_cache_is_not_kept(folder: Path) -> None:
    entry = Cache(folder, 500).put("large", _thousand_bytes, 1000)
    assert (entry.directory / "data").exists()
    entry.close()
    assert not entry.directory.exists()


def test_a_directory_that_cannot_be_used_keeps_nothing_and_serves(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    prepared = prepare(checkpoint, OPTIONS, tmp_path / "file", ROOM)
    assert (prepared.directory / "openvino_model.bin").is_file()
    prepared.close()
    assert not prepared.directory.exists()
    assert "no graph is kept" in caplog.text


def test_a_cache_whose_locks_cannot_be_had_keeps_nothing_and_serves(
    checkpoint: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = get(checkpoint, folder).directory.name
    # As on a file system that is read-only, where root too is refused.
    lock = folder / "llm-graphs" / f"{key}.lock"
    lock.unlink()
    lock.mkdir()

    found = get(checkpoint, folder)

    assert not found.cached
    assert folder not in found.directory.parents
    assert "no graph is kept" in caplog.text


def test_a_full_disk_is_told_before_it_is_full(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="MB free and the graph needs"):
        Cache(folder, 1 << 62).put("huge", _thousand_bytes, 1 << 60)
    assert not [path for path in (folder / "llm-graphs").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"avx512f", "avx512_bf16"}, {"INFERENCE_PRECISION_HINT": "bf16"}),
        ({"amx_bf16"}, {"INFERENCE_PRECISION_HINT": "bf16"}),
        ({"avx2"}, {"INFERENCE_PRECISION_HINT": "f32"}),
        (set(), {}),
    ],
)
def test_the_cpu_decides_what_is_computed_with(flags: set[str], wanted: dict[str, str]) -> None:
    assert hint("auto", flags) == wanted
    assert hint("f16", flags) == {"INFERENCE_PRECISION_HINT": "f16"}


def _thousand_bytes(directory: Path) -> dict[str, int]:
    (directory / "data").write_bytes(bytes(1000))
    return {}


def _boot_again(directory: Path) -> None:
    about = json.loads((directory / "complete.json").read_text())
    (directory / "complete.json").write_text(json.dumps({**about, "boot": "another"}))
