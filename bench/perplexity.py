"""What fewer bits cost: the perplexity of a small model that is trained here, in each form.

    python -m bench.perplexity [--seconds 300]

A Llama of 0.8 million parameters learns the bytes of this repository's documents; a tenth of them
is held back to measure on. Needs requirements-reference.txt.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.contract import CheckpointOptions

CONTEXT = 128
BATCH = 8  # small: many steps teach more than large ones
RATE = 4e-3
CASES = [("f32", "none"), ("bf16", "none"), ("bf16", "int8"), ("bf16", "int4")]


def corpus() -> tuple[np.ndarray, np.ndarray]:
    root = Path(__file__).parent.parent
    paths = sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])
    data = np.frombuffer("\n".join(path.read_text() for path in paths).encode(), np.uint8)
    cut = len(data) * 9 // 10
    return data[:cut], data[cut:]


def train(data: np.ndarray, seconds: float) -> Any:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # two that share busy cores wait for each other
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
    )
    model = transformers.LlamaForCausalLM(config)
    steps = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    rng = np.random.default_rng(1)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        starts = rng.integers(0, len(data) - CONTEXT, BATCH)
        batch = torch.from_numpy(np.stack([data[at : at + CONTEXT] for at in starts])).long()
        left = max((end - time.monotonic()) / seconds, 0.02)
        for group in steps.param_groups:
            group["lr"] = RATE * min(1, 2 * left)
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        steps.step()
        steps.zero_grad()
        count += 1
    print(f"{count} steps, loss {loss.item():.2f}")
    return model


def perplexity(checkpoint: Path, data: np.ndarray, options: CheckpointOptions) -> float:
    import openvino as ov

    prepared = prepare(checkpoint, options, None, 0)
    hint = {"INFERENCE_PRECISION_HINT": options.precision}
    compiled = ov.Core().compile_model(prepared.directory / "openvino_model.xml", "CPU", hint)
    total, count = 0.0, 0
    for start in range(0, len(data) - CONTEXT, CONTEXT):
        ids = data[None, start : start + CONTEXT].astype(np.int64)
        request = compiled.create_infer_request()
        request.infer(
            {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "position_ids": np.arange(CONTEXT)[None],
                "beam_idx": np.zeros(1, np.int32),
            }
        )
        logits = request.get_output_tensor().data[0, :-1].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(CONTEXT - 1), ids[0, 1:]]
        total += float((np.log(np.exp(logits).sum(axis=1)) - chosen).sum())
        count += CONTEXT - 1
    prepared.close()
    return math.exp(total / count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    args = parser.parse_args()
    known, held_back = corpus()
    model = train(known, args.seconds)
    with tempfile.TemporaryDirectory(prefix="motorpool-bench-perplexity-") as folder:
        model.to(torch.bfloat16).save_pretrained(folder)
        exact = None
        for precision, quantization in CASES:
            options: Any = CheckpointOptions(precision=precision, quantization=quantization)
            found = perplexity(Path(folder), held_back, options)
            exact = exact or found
            print(f"{precision:5} {quantization:5} {found:.4f}  {100 * (found / exact - 1):+.2f} %")


if __name__ == "__main__":
    main()
