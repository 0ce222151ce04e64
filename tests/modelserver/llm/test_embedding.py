"""Embedding checkpoints: their vectors are those of the program that defines the architecture."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.checkpoint.embedding import batches
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint, make_pooling
from tests.modelserver.llm.graphs import EXACT
from tests.modelserver.llm.reference import load_reference

OPTIONS = CheckpointOptions(precision="f32")

CASES = [
    ("bert", "mean_tokens", True),
    ("bert", "cls_token", False),
    ("xlm-roberta", "mean_tokens", True),
    ("qwen3", "lasttoken", True),
    ("qwen2", "mean_tokens", False),
]


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    rng = np.random.default_rng(5)
    return [rng.integers(3, 300, length).tolist() for length in (7, 30, 1, 12, 30)]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "mode", "normalize"), CASES)
def test_vectors_are_those_of_the_reference(
    family: str, mode: str, normalize: bool, prompts: list[list[int]], tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", family, dtype="f32")
    make_pooling(checkpoint, mode, normalize=normalize)
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    assert prepared.task == "embed"
    vectors = prepared.embedding("CPU", EXACT)(prompts)
    prepared.close()
    expected = [expected_vector(checkpoint, prompt, mode, normalize) for prompt in prompts]
    np.testing.assert_allclose(vectors, expected, atol=2e-4)


def expected_vector(checkpoint: Path, prompt: list[int], mode: str, normalize: bool) -> Any:
    torch, transformers = load_reference()
    model = transformers.AutoModel.from_pretrained(checkpoint, attn_implementation="eager")
    with torch.no_grad():
        states = model.float()(torch.tensor([prompt])).last_hidden_state[0].numpy()
    vector = {"mean_tokens": states.mean(0), "cls_token": states[0], "lasttoken": states[-1]}[mode]
    return vector / np.linalg.norm(vector) if normalize else vector


@pytest.mark.slow
def test_a_checkpoint_without_its_head_is_embedded_the_same(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "qwen3", dtype="f32")
    make_pooling(checkpoint, "lasttoken")
    whole = prepare(checkpoint, OPTIONS, None, 0)
    vectors = whole.embedding("CPU", EXACT)([[5, 6, 7]])
    whole.close()
    path = checkpoint / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = {
        name.removeprefix("model."): entry
        for name, entry in json.loads(data[8 : 8 + length]).items()
        if name != "lm_head.weight"
    }
    text = json.dumps(header).encode().ljust(length)
    path.write_bytes(data[:8] + text + data[8 + length :])
    without = prepare(checkpoint, OPTIONS, None, 0)
    np.testing.assert_array_equal(without.embedding("CPU", EXACT)([[5, 6, 7]]), vectors)
    without.close()


def test_an_encoder_is_never_asked_for_text(tmp_path: Path) -> None:
    prepared = prepare(make_checkpoint(tmp_path / "model", "bert"), OPTIONS, None, 0)
    prepared.close()
    assert (prepared.task, prepared.max_model_len) == ("embed", 512)


def test_the_length_is_what_the_files_allow(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "xlm-roberta")
    make_pooling(checkpoint, "mean_tokens")
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    prepared.close()
    assert prepared.max_model_len == 512
    (checkpoint / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    prepared.close()
    assert prepared.max_model_len == 128


@pytest.mark.slow
def test_the_command_line_may_choose_the_pooling(prompts: list[list[int]], tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "bert", dtype="f32")
    make_pooling(checkpoint, "mean_tokens")
    options = replace(OPTIONS, pooling="cls", normalize=False)
    prepared = prepare(checkpoint, options, None, 0)
    vectors = prepared.embedding("CPU", EXACT)(prompts)
    prepared.close()
    expected = [expected_vector(checkpoint, prompt, "cls_token", False) for prompt in prompts]
    np.testing.assert_allclose(vectors, expected, atol=2e-4)


@pytest.mark.slow
def test_a_checkpoint_that_writes_may_be_asked_for_vectors(
    prompts: list[list[int]], tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "qwen3", dtype="f32")
    prepared = prepare(checkpoint, replace(OPTIONS, embeds=True), None, 0)
    vectors = prepared.embedding("CPU", EXACT)(prompts)
    prepared.close()
    assert prepared.task == "embed"
    expected = [expected_vector(checkpoint, prompt, "lasttoken", True) for prompt in prompts]
    np.testing.assert_allclose(vectors, expected, atol=2e-4)


def test_a_pooling_makes_no_vectors_of_what_writes(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "qwen3")
    prepared = prepare(checkpoint, replace(OPTIONS, pooling="mean"), None, 0)
    prepared.close()
    assert prepared.task == "generate"


def test_an_unknown_pooling_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "bert")
    make_pooling(checkpoint, "max_tokens")
    with pytest.raises(CheckpointError, match="pooling_mode_max_tokens is not known"):
        prepare(checkpoint, OPTIONS, None, 0)


def test_an_unknown_step_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "bert")
    (checkpoint / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(CheckpointError, match="'Dense', this engine knows Transformer"):
        prepare(checkpoint, OPTIONS, None, 0)


def test_texts_of_about_one_length_go_together() -> None:
    assert list(batches([5, 2000, 3, 1900])) == [[2, 0], [3, 1]]
    assert list(batches([10] * 65)) == [list(range(64)), [64]]
    assert list(batches([])) == []
    assert list(batches([9000])) == [[0]]
