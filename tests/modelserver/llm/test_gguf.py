"""GGUF files compute as their safetensors twins do, and blocks mean what they should."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motorpool.modelserver.llm.api.tokenizer import Tokenizer
from motorpool.modelserver.llm.checkpoint import prepare, vocabulary
from motorpool.modelserver.llm.checkpoint.ggml import BLOCKS
from motorpool.modelserver.llm.checkpoint.gguf import read_gguf
from motorpool.modelserver.llm.checkpoint.quantize import unpack4
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.modelserver.llm.gguf import F16, F32, Q4_0, Q8_0, make_gguf
from tests.modelserver.llm.graphs import engine_tokens, graph_logits

OPTIONS = CheckpointOptions(precision="f32")
PROMPT = list(range(3, 40))

# Where a block keeps its f16 scales.
HALVES = {"q4_1": (0, 2), "q5_1": (0, 2), "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,)}


def computed(checkpoint: Path) -> tuple[Any, list[int]]:
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    try:
        return graph_logits(prepared, PROMPT), engine_tokens(prepared, PROMPT, 24)
    finally:
        prepared.close()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_floats_compute_as_the_safetensors_do(family: str, tmp_path: Path) -> None:
    logits, tokens = computed(make_gguf(tmp_path / "model.gguf", family, F16))
    expected, their_tokens = computed(make_checkpoint(tmp_path / "twin", family, dtype="f16"))
    np.testing.assert_allclose(logits, expected, atol=1e-2)  # norms and biases are f32 in GGUF
    assert tokens == their_tokens


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Q8_0, Q4_0])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_blocks_compute_as_their_numbers_do(family: str, kind: int, tmp_path: Path) -> None:
    logits, tokens = computed(make_gguf(tmp_path / "blocks.gguf", family, kind))
    expected, their_tokens = computed(
        make_gguf(tmp_path / "floats.gguf", family, F32, rounded_to=kind)
    )
    np.testing.assert_allclose(logits, expected, atol=2e-3)
    assert tokens == their_tokens


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_means_what_the_format_says(name: str) -> None:
    """Against the format's own package, on random bytes."""
    try:
        from gguf import GGMLQuantizationType, quants
    except ModuleNotFoundError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("gguf is not installed: requirements-reference.txt")
    rng = np.random.default_rng(11)
    block = BLOCKS[name]
    data = rng.integers(0, 256, (6, block.bytes), np.uint8)
    for at in HALVES.get(name, (0,)):
        data[:, at : at + 2] = rng.uniform(0.01, 1, (6, 1)).astype(np.float16).view(np.uint8)
    if name.endswith("_k"):
        data[0, 4:16] = 0  # no scale: all of a group are its least
    expected = quants.dequantize(data, GGMLQuantizationType[name.upper()])
    codes, scales, *zeros = block.rows(data, block.kind)
    if block.kind == "u4":
        codes = unpack4(codes)
    groups = codes.reshape(6, -1, block.group).astype(np.float32)
    zero = zeros[0][..., None] if zeros else 0
    np.testing.assert_allclose(
        ((groups - zero) * scales[..., None]).reshape(6, -1), expected, rtol=2e-5, atol=2e-5
    )


def test_what_the_file_says_is_told(tmp_path: Path) -> None:
    prepared = prepare(make_gguf(tmp_path / "model.gguf", "llama"), OPTIONS, None, 0)
    prepared.close()
    assert (prepared.max_model_len, prepared.vocab_size) == (512, 320)
    assert prepared.eos_token_ids == (0, 2)


def test_a_graph_of_a_gguf_file_is_kept_too(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "model.gguf", "llama", Q8_0)
    cached = []
    for _ in range(2):
        prepared = prepare(path, OPTIONS, tmp_path / "cache", 1 << 30)
        prepared.close()
        cached.append(prepared.cached)
    assert cached == [False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as GGUF"),
        (b"GGUF", "it ends at byte 4"),
        (b"GGUX" + bytes(60), "does not begin with GGUF"),
        (b"GGUF" + (9).to_bytes(4, "little") + bytes(60), "version 9"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 60, "it claims to have"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_gguf(tmp_path / "model.gguf")


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "model.gguf", "llama")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="is it whole"):
        read_gguf(path)


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "model.gguf", "llama")
    path.write_bytes(path.read_bytes().replace(b"llama", b"mamba"))
    with pytest.raises(CheckpointError, match="'mamba'; from GGUF this engine reads llama"):
        read_gguf(path)


TEXTS = [
    "A motor pool keeps a fleet of cars.",
    "  two spaces, tabs\tand\nlines \r\n 1234567 it's",
    "<|im_start|>user\nünïcödé 漢字 🚗<|im_end|>",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_its_tokenizer_is_the_one_it_was_made_from(text: str, tmp_path: Path) -> None:
    twin = Tokenizer(make_checkpoint(tmp_path / "twin"))
    own = Tokenizer(make_gguf(tmp_path / "model.gguf", "llama"))
    ids = twin.encode(text, add_special_tokens=True)
    assert own.encode(text, add_special_tokens=True) == ids
    assert own.decode(ids) == twin.decode(ids) == text
    assert own.decode(ids, skip_special_tokens=True) == twin.decode(ids, skip_special_tokens=True)
    assert own.templates == twin.templates


def test_a_tokenizer_beside_the_file_goes_first(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    path = make_gguf(checkpoint / "model.gguf", "llama")
    path.write_bytes(path.read_bytes().replace(b"gpt2", b"ggg2"))
    assert Tokenizer(path).encode("a", add_special_tokens=False)
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"of the kind 'ggg2' .* --tokenizer"):
        Tokenizer(path)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ("llama-bpe", ["it", "'s", " ", " ", "123", "456", " ok", "!\n", "x"]),
        ("qwen2", ["it", "'s", " ", " ", "1", "2", "3", "4", "5", "6", " ok", "!\n", "x"]),
    ],
)
def test_words_are_cut_as_the_file_says(cut: str, expected: list[str]) -> None:
    from tokenizers import Tokenizer as Fast

    words = vocabulary._words(vocabulary._CUTS[cut])
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    fast = Fast.from_str(json.dumps({"version": "1.0", "pre_tokenizer": words, "model": empty}))
    pieces = fast.pre_tokenizer.pre_tokenize_str("it's  123456 ok!\nx")
    spans = [span for _, span in pieces]
    assert ["it's  123456 ok!\nx"[start:end] for start, end in spans] == expected
