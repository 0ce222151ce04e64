"""What a prepared graph computes, in f32."""

from typing import Any

import numpy as np

from motorpool.modelserver.llm.checkpoint import Prepared

EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    # Else the engine gives what it multiplies integers with 8 bits too.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}


def graph_logits(
    prepared: Prepared, prompt: list[int], first: int = 0, precision: str = "f32"
) -> Any:
    """Before the engine's rewrite to paged attention; the prompt's positions begin at *first*."""
    import openvino as ov

    settings = {**EXACT, "INFERENCE_PRECISION_HINT": precision}
    compiled = ov.Core().compile_model(prepared.directory / "openvino_model.xml", "CPU", settings)
    ids = np.array([prompt], np.int64)
    outputs = compiled(
        {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(first, first + len(prompt))[None],
            "beam_idx": np.zeros(1, np.int32),
        }
    )
    return outputs["logits"][0]


def engine_tokens(prepared: Prepared, prompt: list[int], count: int) -> list[int]:
    """Greedy, after the rewrite."""
    import openvino as ov
    import openvino_genai as genai

    pipeline = prepared.pipeline(genai.SchedulerConfig(), "CPU", EXACT)
    config = genai.GenerationConfig(max_new_tokens=count, ignore_eos=True)
    answers = pipeline.generate([ov.Tensor(np.array([prompt], np.int64))], [config])
    return list(answers[0].m_generation_ids[0])
