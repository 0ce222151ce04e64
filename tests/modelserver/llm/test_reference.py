"""Each architecture against the program that defines it, on a tiny checkpoint with random weights.

All in f32 on both sides, keys and values too, so that rounding cannot decide. The logits are those
of the graph before the engine's rewrite to paged attention; the tokens those after it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.contract import CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.modelserver.llm.graphs import engine_tokens, graph_logits
from tests.modelserver.llm.reference import load_reference

pytestmark = pytest.mark.slow

TOLERANCE = 2e-3  # of logits that are about 1 to 10 in size
STEPS = 64

YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
    "long_factor": [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0],
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-tied-biased": ("llama", {"tie_word_embeddings": True, "attention_bias": True}),
    "llama-all-heads": ("llama", {"num_key_value_heads": 4}),
    "llama-linear": ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "llama-dynamic": (
        "llama",
        {"rope_scaling": {"type": "dynamic", "factor": 4.0}, "max_position_embeddings": 64},
    ),
    "llama-3": ("llama", {"rope_scaling": LLAMA3}),
    "llama-yarn": ("llama", {"rope_scaling": YARN, "max_position_embeddings": 128}),
    "mistral": ("mistral", {}),
    "mistral-window": ("mistral", {"sliding_window": 20}),
    "qwen2": ("qwen2", {}),
    "qwen2-window": ("qwen2", {"use_sliding_window": True}),
    "qwen2-yarn": ("qwen2", {"rope_scaling": YARN, "max_position_embeddings": 32}),
    "qwen3": ("qwen3", {}),
    "granite": ("granite", {}),
    "phi3": ("phi3", {}),
    "phi3-window": ("phi3", {"sliding_window": 20}),
    "phi3-long": (
        "phi3",
        {
            "rope_scaling": LONGROPE,
            "original_max_position_embeddings": 24,
            "max_position_embeddings": 256,
        },
    ),
    "phi4-mini": (
        "phi3",
        {
            "rope_scaling": {
                name: value[:6] if name != "type" else value for name, value in LONGROPE.items()
            },
            "partial_rotary_factor": 0.75,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
        },
    ),
    "gemma2": ("gemma2", {}),
    "mixtral": ("mixtral", {}),
}
# longrope by the length that is served: these are served no longer than they were trained.
SHORT = {"phi4-mini": 512}


@pytest.mark.parametrize("case", CASES)
def test_it_computes_what_its_reference_computes(
    case: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    family, config = CASES[case]
    checkpoint = make_checkpoint(tmp_path / "model", family, dtype="f32", **config)
    prompt = rng.integers(3, 320, 40).tolist()
    logits, tokens = run_reference(checkpoint, prompt)
    options = CheckpointOptions(precision="f32", max_model_len=SHORT.get(case))
    prepared = prepare(checkpoint, options, None, 0)
    try:
        np.testing.assert_allclose(graph_logits(prepared, prompt), logits, atol=TOLERANCE)
        assert engine_tokens(prepared, prompt, STEPS) == tokens
    finally:
        prepared.close()


def run_reference(checkpoint: Path, prompt: list[int]) -> tuple[Any, list[int]]:
    torch, transformers = load_reference()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.tensor([prompt])
    with torch.no_grad():
        logits = model(ids).logits[0].numpy()
        tokens = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=STEPS,
            do_sample=False,
            eos_token_id=None,
        )
    return logits, tokens[0][len(prompt) :].tolist()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
