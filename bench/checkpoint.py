"""From a checkpoint's files to the first token: seconds and memory, for a random Llama in bf16.

    python -m bench.checkpoint [--size 32m|1b] [--quantization none int8 int4]

Writes the checkpoint (80 MB or 2.5 GB) and its graphs under $TMPDIR and removes them. Each case is
a process of its own: first without a cache, then twice with one.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tests.modelserver.llm import checkpoints

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.contract import CheckpointOptions

SIZES: dict[str, dict[str, Any]] = {
    "32m": {
        "vocab_size": 32000,
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
    },
    # As Llama 3.2 1B.
    "1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
}
TOKENS = {"32m": 128, "1b": 32}
STREAMS = 16


def make(directory: Path, size: str) -> int:
    """Tensor by tensor, as all of it may not fit the memory; returns the parameters."""
    settings = {**checkpoints.DEFAULTS, **checkpoints.FAMILIES["llama"], **SIZES[size]}
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(settings))
    shapes = checkpoints.model_shapes(settings)
    header, at = {}, 0
    for name, shape in shapes.items():
        length = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + length]}
        at += length
    text = json.dumps(header).encode()
    rng = np.random.default_rng(1)
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            values = rng.standard_normal(shape, dtype=np.float32) * 0.02
            if name.endswith("norm.weight"):
                values[:] = 1
            file.write(checkpoints.to_bf16(values).tobytes())
    return at // 2


def measure(checkpoint: Path, quantization: Any, cache: Path | None, tokens: int) -> None:
    start = time.perf_counter()
    prepared = prepare(checkpoint, CheckpointOptions(quantization=quantization), cache, 1 << 40)
    prepare_s, peak_mb = time.perf_counter() - start, _memory("VmHWM")
    import openvino as ov
    import openvino_genai as genai

    start = time.perf_counter()
    pipeline = prepared.pipeline(genai.SchedulerConfig(), "CPU", {})
    prepared.close()
    load_s = time.perf_counter() - start
    rng = np.random.default_rng(1)

    def generate(streams: int, count: int) -> float:
        begin = time.perf_counter()
        prompts = [ov.Tensor(rng.integers(3, 300, (1, 16))) for _ in range(streams)]
        config = genai.GenerationConfig(max_new_tokens=count, ignore_eos=True)
        pipeline.generate(prompts, [config] * streams)
        return time.perf_counter() - begin

    first_s = generate(1, 1)
    one = tokens / min(generate(1, tokens) for _ in range(2))
    many = STREAMS * tokens / min(generate(STREAMS, tokens) for _ in range(2))
    how = "kept" if prepared.cached else "built"
    print(
        f"{quantization:6} {how:6} {prepare_s:9.2f} {peak_mb:9.0f}"
        f" {load_s:7.2f} {first_s:7.2f} {one:8.0f} {many:8.0f} {_memory('VmHWM'):8.0f}"
        f" {_memory('RssAnon'):8.0f}"
    )


def _memory(name: str) -> float:
    """In MB, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="32m")
    parser.add_argument("--quantization", nargs="+", default=["none", "int8", "int4"])
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)  # in a child
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.checkpoint:
        measure(args.checkpoint, args.quantization[0], args.cache, TOKENS[args.size])
        return
    with tempfile.TemporaryDirectory(prefix="motorpool-bench-checkpoint-") as folder:
        parameters = make(Path(folder) / "model", args.size)
        print(f"{parameters / 1e6:.0f}M parameters, bf16; peaks and memory in MB, tokens a second")
        print(
            f"{'bits':6} {'graph':6} {'prepare s':>9} {'its peak':>9} {'load s':>7} {'first s':>7}"
            f" {'1 stream':>8} {f'{STREAMS}':>8} {'peak':>8} {'own':>8}",
            flush=True,
        )
        for quantization in args.quantization:
            command = [sys.executable, "-m", "bench.checkpoint", "--size", args.size]
            command += ["--quantization", quantization, "--checkpoint", f"{folder}/model"]
            for cache in ([], ["--cache", f"{folder}/cache"], ["--cache", f"{folder}/cache"]):
                subprocess.run(command + cache, check=True)


if __name__ == "__main__":
    main()
