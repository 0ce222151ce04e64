"""A checkpoint's files become a graph that the engine runs."""

import json
import mmap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.checkpoint.pages import letting_go
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint, random_tensors, write_safetensors
from tests.modelserver.llm.graphs import engine_tokens, graph_logits

OPTIONS = CheckpointOptions(precision="f32")
PROMPT = list(range(3, 40))


def greedy(checkpoint: Path, options: CheckpointOptions = OPTIONS, count: int = 16) -> list[int]:
    prepared = prepare(checkpoint, options, None, 0)
    try:
        return engine_tokens(prepared, PROMPT, count)
    finally:
        prepared.close()


def test_what_the_files_say_is_told(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", max_position_embeddings=99, vocab_size=333)
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    prepared.close()
    assert prepared.max_model_len == 99
    assert prepared.vocab_size == 333
    assert prepared.eos_token_ids == (0, 2)
    assert prepared.task == "generate"


@pytest.mark.slow
def test_shards_and_types_do_not_change_the_answer(tmp_path: Path) -> None:
    whole = greedy(make_checkpoint(tmp_path / "whole", dtype="bf16"))
    sharded = greedy(make_checkpoint(tmp_path / "sharded", dtype="bf16", shards=3))
    assert sharded == whole


@pytest.mark.slow
def test_what_is_mapped_is_let_go_once_the_weights_are_in_order(tmp_path: Path) -> None:
    import openvino_genai as genai

    checkpoint = make_checkpoint(tmp_path / "model", hidden_size=512, intermediate_size=2048)
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    weights = prepared.directory / "openvino_model.bin"
    pipeline = prepared.pipeline(genai.SchedulerConfig(), "CPU", {})
    assert resident_bytes(weights) < weights.stat().st_size / 10
    prepared.close()
    del pipeline


def test_what_is_mapped_is_let_go_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(1 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[:]) == 0
        assert resident_bytes(path) == 1 << 20
        with letting_go(path):
            deadline = time.monotonic() + 30
            while resident_bytes(path) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert resident_bytes(path) == 0
            assert sum(mapped[:]) == 0
        assert resident_bytes(path) == 0


def resident_bytes(path: Path) -> int:
    """Of a file, in this process."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.slow
def test_a_configuration_of_another_model_is_refused(tmp_path: Path) -> None:
    # One whose matrices are joined, so that none has the shape of a part of it.
    checkpoint = make_checkpoint(tmp_path / "model", "phi3")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "num_attention_heads": 8}))
    with pytest.raises(CheckpointError, match=r"do config.json and its weights belong together\?"):
        greedy(checkpoint)


@pytest.mark.slow
def test_positions_stay_exact_where_the_rest_is_rounded(tmp_path: Path) -> None:
    # bf16 has no whole numbers between 40,000 and 40,256: angles computed in it would be noise.
    checkpoint = make_checkpoint(tmp_path / "model", dtype="bf16")
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    exact = graph_logits(prepared, PROMPT, first=40_000)
    rounded = graph_logits(prepared, PROMPT, first=40_000, precision="bf16")
    prepared.close()
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.99


@pytest.mark.slow
def test_the_part_for_text_of_a_model_of_images_is_served(tmp_path: Path) -> None:
    plain = make_checkpoint(tmp_path / "plain", "mistral", dtype="f32")
    whole = make_checkpoint(tmp_path / "whole", "mistral", dtype="f32")
    config = json.loads((plain / "config.json").read_text())
    outer = {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": {key: value for key, value in config.items() if key != "architectures"},
    }
    (whole / "config.json").write_text(json.dumps(outer))
    tensors = random_tensors(config, np.random.default_rng(1))
    inner = {f"language_model.{name}": values for name, values in tensors.items()}
    inner["vision_tower.patch_conv.weight"] = np.zeros((2, 3), np.float32)
    write_safetensors(whole / "model.safetensors", inner, "f32")
    assert greedy(whole) == greedy(plain)


@pytest.mark.slow
def test_overrides_of_the_configuration_are_obeyed(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "gemma2", attn_logit_softcapping=50.0)
    with pytest.raises(CheckpointError, match="attn_logit_softcapping is 50"):
        prepare(checkpoint, OPTIONS, None, 0)
    without = CheckpointOptions(precision="f32", overrides=(("attn_logit_softcapping", None),))
    assert len(greedy(checkpoint, without)) == 16


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda at: (at / "config.json").unlink(), "has no config.json"),
        (lambda at: (at / "config.json").write_text("{"), "cannot be read"),
        (lambda at: (at / "model.safetensors").unlink(), r"has no \*\.safetensors"),
        (lambda at: (at / "model.safetensors").write_bytes(b"\1\0"), "no safetensors file"),
        (lambda at: _truncate(at / "model.safetensors"), "is it whole"),
        (lambda at: _point(at / "model.safetensors"), "`git lfs pull` fetches the file itself"),
    ],
)
def test_files_that_cannot_be_served_are_refused(
    tmp_path: Path, break_it: Any, message: str
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    break_it(checkpoint)
    with pytest.raises(CheckpointError, match=message):
        prepare(checkpoint, OPTIONS, None, 0)


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", architectures=["RwkvForCausalLM"])
    with pytest.raises(CheckpointError, match="'RwkvForCausalLM' is not known"):
        prepare(checkpoint, OPTIONS, None, 0)


@pytest.mark.parametrize(
    ("config", "name", "text"),
    [
        (
            {"vocab_size": 400},
            "embed_tokens",
            r"400 x 64 \(vocab_size of 400 and hidden_size of 64",
        ),
        ({"hidden_size": 128}, "embed_tokens", "320 x 128"),
        ({"num_key_value_heads": 4}, "layers.0.self_attn.k_proj", "64 x 64"),
    ],
)
def test_weights_that_config_json_does_not_speak_of_are_named(
    config: dict[str, int], name: str, text: str, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    said = f"tensor 'model.{name}.weight' of model.safetensors is .*, and config.json asks for "
    with pytest.raises(CheckpointError, match=said + text):
        prepare(checkpoint, OPTIONS, None, 0)


def _point(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
