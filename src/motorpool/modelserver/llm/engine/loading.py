"""From options to a loop that turns.

The libraries are imported on a thread of their own while the graph is built from the checkpoint's
files, which needs numpy at most: neither waits for the other.
"""

import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from motorpool.modelserver.llm.checkpoint import Prepared, prepare
from motorpool.modelserver.llm.checkpoint.exported import WEIGHTS
from motorpool.modelserver.llm.checkpoint.files import read_json
from motorpool.modelserver.llm.checkpoint.vocabulary import tokenizer_json
from motorpool.modelserver.llm.contract import (
    CheckpointError,
    CheckpointOptions,
    EngineOptions,
    ModelInfo,
    Sampling,
)
from motorpool.modelserver.llm.engine import machine, memory, structure
from motorpool.modelserver.llm.engine.embedding import Embedder
from motorpool.modelserver.llm.engine.loop import Bounds, Loop
from motorpool.modelserver.llm.engine.prefixes import Prefixes
from motorpool.modelserver.llm.engine.sampling import Unusable, generation_config
from motorpool.modelserver.llm.engine.vocabulary import NoVocabulary, token_bytes
from motorpool.modelserver.llm.engine.wire import Embed, Ready, Vectors

DEVICE = "CPU"


Age = Callable[[], float]


@dataclass(slots=True)
class Loaded:
    ready: Ready
    loop: Loop | Embedder
    embed: Callable[[Embed], Vectors] | None = None


def load(options: EngineOptions, age_s: Age) -> Loaded:
    """Blocking. Raises CheckpointError, and RuntimeError as the engine does."""
    import os

    # Whoever imports them later waits for this thread.
    threading.Thread(target=_import, daemon=True).start()
    graph = replace(
        options.graph, max_model_len=options.graph.max_model_len or options.max_model_len
    )
    prepared = prepare(options.checkpoint, graph, options.cache_dir, options.cache_bytes_max)
    try:
        available = machine.machine(os.environ)
        if prepared.task != "generate":
            return _embedder(prepared, options, available, age_s)
        return _writer(prepared, options, available, age_s)
    finally:
        prepared.close()


def _writer(
    prepared: Prepared, options: EngineOptions, available: machine.Machine, age_s: Age
) -> Loaded:
    threads = machine.threads(options.threads, available)
    of = memory.heads(read_json(prepared.directory / "config.json"))
    cache = memory.plan(options, of, prepared.max_model_len, available.memory_bytes)
    tokenizer, why_not = _tokenizer(options.tokenizer or options.checkpoint, prepared)
    pipeline = _pipeline(prepared, options, cache, threads, tokenizer)
    structures = structure.Structures(partial(_probe, prepared.vocab_size, tokenizer))
    loop = Loop(
        pipeline,
        Bounds(cache, prepared.vocab_size, options.max_num_seqs, options.max_waiting),
        partial(_translated, prepared.eos_token_ids, structures, why_not),
        _tensor,
        Prefixes(cache.blocks if options.prefix_caching else 0),
    )
    return Loaded(Ready(_info(prepared, cache, threads, age_s)), loop)


def _embedder(
    prepared: Prepared, options: EngineOptions, available: machine.Machine, age_s: Age
) -> Loaded:
    threads = machine.threads(options.threads, available)
    properties = {**_common(threads), **options.properties}
    longest = min(options.max_model_len or prepared.max_model_len, prepared.max_model_len)
    compute = prepared.embedding(DEVICE, properties)
    embedder = Embedder(compute, longest, prepared.vocab_size)
    cache = memory.Cache(0, 0, longest)
    return Loaded(Ready(_info(prepared, cache, threads, age_s)), embedder, embedder.embed)


def _info(prepared: Prepared, cache: memory.Cache, threads: int, age_s: Age) -> ModelInfo:
    return ModelInfo(
        max_model_len=cache.max_model_len,
        vocab_size=prepared.vocab_size,
        eos_token_ids=prepared.eos_token_ids,
        kv_block_tokens=memory.BLOCK_TOKENS,
        kv_cache_bytes_max=cache.bytes,
        threads=threads,
        task=prepared.task,
        load_s=age_s(),
        cached_graph=prepared.cached,
    )


def _import() -> None:
    import openvino_genai  # noqa: F401


def _pipeline(
    prepared: Prepared, options: EngineOptions, cache: memory.Cache, threads: int, tokenizer: Any
) -> Any:
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = options.prefix_caching
    scheduler.dynamic_split_fuse = True
    scheduler.max_num_batched_tokens = options.max_num_batched_tokens or memory.batched_tokens(
        (prepared.directory / WEIGHTS).stat().st_size
    )
    scheduler.max_num_seqs = options.max_num_seqs
    scheduler.num_kv_blocks = cache.blocks
    properties: dict[str, Any] = {
        **_common(threads),
        **_precision(options.kv_cache_precision),
        **options.properties,
    }
    return prepared.pipeline(scheduler, DEVICE, properties, tokenizer)


def _common(threads: int) -> dict[str, Any]:
    # No pinning: a quota moves threads anyway, and others run here too.
    return {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}


def _precision(kv_cache: str) -> Mapping[str, Any]:
    return {} if kv_cache == "auto" else {"KV_CACHE_PRECISION": kv_cache}


def _tokenizer(path: Path, prepared: Prepared) -> tuple[Any, str]:
    """The engine's, with the bytes of the tokens; else why there is none."""
    if not prepared.eos_token_ids:
        return None, "the checkpoint names no end of text"
    try:
        text = tokenizer_json(path)
        vocabulary = structure.without_impossible(token_bytes(text, prepared.vocab_size))
    except (OSError, CheckpointError, NoVocabulary) as error:
        return None, str(error)
    with tempfile.TemporaryDirectory(prefix="motorpool-vocabulary-") as directory:
        structure.write_detokenizer(Path(directory), vocabulary, prepared.eos_token_ids[0])
        return structure.tokenizer(Path(directory)), ""


def _probe(vocab_size: int, tokenizer: Any) -> Any:
    """A pipeline that compiles structures as the real one does, over a model of nearly nothing."""
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = 4
    with tempfile.TemporaryDirectory(prefix="motorpool-probe-") as directory:
        structure.write_probe(Path(directory), vocab_size)
        prepared = prepare(Path(directory), CheckpointOptions(), None, 0)
        try:
            return prepared.pipeline(scheduler, DEVICE, {"INFERENCE_NUM_THREADS": 1}, tokenizer)
        finally:
            prepared.close()


def _translated(
    eos: tuple[int, ...],
    structures: structure.Structures,
    why_not: str,
    sampling: Sampling,
    max_tokens: int,
) -> Any:
    """Raises Unusable."""
    config = generation_config(sampling, eos, max_tokens)
    if sampling.structure is not None:
        if why_not:
            raise Unusable(f"structured answers are not available here: {why_not}")
        structures.check(sampling.structure)
        config.structured_output_config = structure.structured_output(sampling.structure)
    return config


def _tensor(tokens: list[int]) -> Any:
    import numpy as np
    import openvino

    return openvino.Tensor(np.array([tokens], np.int64))
