"""Checkpoints that come as OpenVINO's own graphs."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.contract import (
    CheckpointError,
    CheckpointOptions,
    EngineOptions,
    Generation,
    Sampling,
)
from motorpool.modelserver.llm.engine.process import EngineProcess
from tests.modelserver.llm.checkpoints import make_checkpoint

OPTIONS = CheckpointOptions(precision="f32")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("plain") / "model", dtype="f32")


@pytest.fixture
def exported(plain: Path, tmp_path: Path) -> Path:
    """The graph that is made of the plain one, with what stands beside its weights."""
    prepared = prepare(plain, OPTIONS, None, 0)
    made = Path(shutil.copytree(prepared.directory, tmp_path / "exported"))
    prepared.close()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(plain / name, made)
    return made


def said(checkpoint: Path) -> list[int]:
    return asyncio.run(_said(checkpoint))


async def _said(checkpoint: Path) -> list[int]:
    engine = EngineProcess(EngineOptions(checkpoint, graph=OPTIONS, threads=1))
    await engine.start()
    try:
        sampling = Sampling(max_tokens=20, temperature=0.0)
        ids: list[int] = []
        async for tokens in engine.generate(Generation("g", [5, 6, 7], sampling)):
            ids += tokens.ids
        return ids
    finally:
        await engine.stop()


@pytest.mark.slow
def test_a_graph_says_what_its_weights_say_and_is_left_as_it_is(
    plain: Path, exported: Path
) -> None:
    before = sorted((file.name, file.stat().st_mtime_ns) for file in exported.iterdir())
    for path in (exported, *exported.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)

    assert said(exported) == said(plain)

    after = sorted((file.name, file.stat().st_mtime_ns) for file in exported.iterdir())
    assert after == before


def test_what_the_files_say_is_told(exported: Path) -> None:
    prepared = prepare(exported, OPTIONS, None, 0)
    prepared.close()

    assert (prepared.task, prepared.max_model_len, prepared.vocab_size) == ("generate", 512, 320)
    assert prepared.eos_token_ids == (0, 2)
    assert prepared.directory == exported
    assert (exported / "openvino_model.bin").is_file()


def without_weights(exported: Path) -> None:
    (exported / "openvino_model.bin").unlink()


def without_memory(exported: Path) -> None:
    (exported / "openvino_model.xml").write_text("<net/>")


def of_images(exported: Path) -> None:
    (exported / "openvino_model.xml").rename(exported / "openvino_language_model.xml")


def nothing(exported: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "options", "text"),
    [
        (without_weights, {}, "has openvino_model.xml without openvino_model.bin; is it whole"),
        (without_memory, {}, "export it for text-generation-with-past"),
        (of_images, {}, "a model of images and text, which is not served"),
        (nothing, {"embeds": True}, "embeddings are made of safetensors"),
        (nothing, {"quantization": "int8"}, "--quantization int8 is for safetensors"),
    ],
)
def test_a_graph_that_cannot_be_served_says_why(
    exported: Path, change: Any, options: dict[str, Any], text: str
) -> None:
    change(exported)

    with pytest.raises(CheckpointError, match=text):
        prepare(exported, CheckpointOptions(**options), None, 0)


def test_where_there_are_safetensors_too_they_count(plain: Path, exported: Path) -> None:
    shutil.copy(plain / "model.safetensors", exported)

    prepared = prepare(exported, OPTIONS, None, 0)
    prepared.close()

    assert prepared.directory != exported
