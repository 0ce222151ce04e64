"""Checkpoints with fewer bits compute what their numbers stand for; plain ones may get fewer."""

import json
from pathlib import Path

import numpy as np
import pytest

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.checkpoint.quantize import (
    int4_group,
    pack4,
    to_int4,
    to_int8,
    unpack4,
)
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.modelserver.llm.graphs import graph_logits
from tests.modelserver.llm.quantized import SCHEMES, make_quantized

EXACT = CheckpointOptions(precision="f32")
PROMPT = list(range(3, 40))


def logits(checkpoint: Path, options: CheckpointOptions = EXACT) -> np.ndarray:
    prepared = prepare(checkpoint, options, None, 0)
    try:
        return graph_logits(prepared, PROMPT)
    finally:
        prepared.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_quantised_checkpoint_computes_as_its_numbers_do(scheme: str, tmp_path: Path) -> None:
    quantized, plain = make_quantized(tmp_path, scheme)
    np.testing.assert_allclose(logits(quantized), logits(plain), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "least"), [("int8", 0.999), ("int4", 0.9)])
@pytest.mark.parametrize("tied", [True, False])
def test_a_plain_checkpoint_with_fewer_bits_says_nearly_the_same(
    bits: str, least: float, tied: bool, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(
        tmp_path / "model", "llama", dtype="bf16", tie_word_embeddings=tied
    )
    exact = logits(checkpoint)
    fewer = logits(checkpoint, CheckpointOptions(precision="f32", quantization=bits))  # type: ignore[arg-type]
    assert np.corrcoef(exact.ravel(), fewer.ravel())[0, 1] > least
    assert not np.array_equal(exact, fewer)


@pytest.mark.slow
def test_small_floats_can_become_integers(tmp_path: Path) -> None:
    quantized, plain = make_quantized(tmp_path, "FP8-dynamic")
    fewer = logits(quantized, CheckpointOptions(precision="f32", quantization="int8"))
    assert np.corrcoef(logits(plain).ravel(), fewer.ravel())[0, 1] > 0.995


def test_int8_is_off_by_half_a_step_at_most(rng: np.random.Generator) -> None:
    values = rng.standard_normal((50, 64), dtype=np.float32)
    codes, scales = to_int8(values)
    assert np.abs(codes * scales - values).max() <= scales.max() * 0.51


def test_int4_is_off_by_a_step_at_most_and_has_zero_exactly(rng: np.random.Generator) -> None:
    values = rng.standard_normal((50, 64), dtype=np.float32)
    values[:, ::7] = 0
    packed, scales, zeros = to_int4(values, 32)
    codes = unpack4(packed).reshape(50, 2, 32).astype(np.float32)
    back = ((codes - zeros) * scales).reshape(50, 64)
    assert np.abs(back - values).max() <= scales.max() * 1.01
    assert (back[:, ::7] == 0).all()


def test_rows_of_zeros_stay_zeros() -> None:
    codes, scales = to_int8(np.zeros((2, 32), np.float32))
    assert not (codes * scales).any()
    packed, scales, zeros = to_int4(np.zeros((2, 32), np.float32), 32)
    assert not ((unpack4(packed).reshape(2, 1, 32) - zeros.astype(np.float32)) * scales).any()


def test_packing_has_the_earlier_in_the_lower_half() -> None:
    codes = np.array([[1, 2, 15, 0]], np.uint8)
    assert pack4(codes).tolist() == [[0x21, 0x0F]]
    assert (unpack4(pack4(codes)) == codes).all()


def test_groups_divide_rows() -> None:
    assert [int4_group(n) for n in (4096, 192, 96, 100)] == [128, 64, 32, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"quant_method": "awq"},
            "'awq', which this engine does not know; serve the model's plain",
        ),
        ({"quant_method": "gptq", "bits": 4}, "'gptq'"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8 in blocks"),
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}, "nvfp4"),
        ({"quant_method": "compressed-tensors", "format": "marlin-24"}, "marlin-24"),
    ],
)
def test_other_ways_are_refused_with_what_would_do(
    settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    config = json.loads((checkpoint / "config.json").read_text())
    config["quantization_config"] = settings
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        prepare(checkpoint, EXACT, None, 0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)
