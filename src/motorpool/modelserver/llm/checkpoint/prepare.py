"""The seam to the engine: a checkpoint and options in, something to run out."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

from motorpool.modelserver.llm.checkpoint import cache as cached_graphs
from motorpool.modelserver.llm.checkpoint import exported
from motorpool.modelserver.llm.checkpoint.blob import Blob
from motorpool.modelserver.llm.checkpoint.config import Config, read_config, text_part
from motorpool.modelserver.llm.checkpoint.embedding import Embedding
from motorpool.modelserver.llm.checkpoint.exported import GRAPH, WEIGHTS
from motorpool.modelserver.llm.checkpoint.families import ENCODERS, family
from motorpool.modelserver.llm.checkpoint.families.bert import first_position
from motorpool.modelserver.llm.checkpoint.files import StoredTensor, read_json, read_tensors
from motorpool.modelserver.llm.checkpoint.frequencies import depends_on_length, longest
from motorpool.modelserver.llm.checkpoint.gguf import read_gguf
from motorpool.modelserver.llm.checkpoint.graph import Graph
from motorpool.modelserver.llm.checkpoint.identity import graph_key
from motorpool.modelserver.llm.checkpoint.network import Network
from motorpool.modelserver.llm.checkpoint.pages import letting_go
from motorpool.modelserver.llm.checkpoint.pooling import Pooling, chosen_pooling, pool
from motorpool.modelserver.llm.checkpoint.precision import cpu_flags, hint
from motorpool.modelserver.llm.checkpoint.schemes import check_quantization
from motorpool.modelserver.llm.checkpoint.scoring import Scoring, kinds, read_scoring, score
from motorpool.modelserver.llm.checkpoint.shapes import check_shapes
from motorpool.modelserver.llm.checkpoint.weights import Weights
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions, Task

log = logging.getLogger(__name__)

REFUSAL_CHARACTERS = 600  # of the engine's own words, which can be pages


@dataclass(slots=True)
class Prepared:
    """A graph on disk and what its checkpoint says. `close` it once it is opened, or not wanted."""

    directory: Path
    max_model_len: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    task: Task
    cached: bool
    properties: dict[str, Any] = field(default_factory=dict)
    entry: cached_graphs.Entry | None = None

    def pipeline(
        self,
        scheduler_config: Any,
        device: str,
        properties: Mapping[str, Any],
        tokenizer: Any = None,
    ) -> Any:
        """The engine's ContinuousBatchingPipeline; *properties* win over the graph's own.

        It has made a token: with the first the engine puts the weights in its own order, which
        takes seconds for a large model. Raises CheckpointError.
        """
        import openvino_genai

        make = openvino_genai.ContinuousBatchingPipeline
        wanted = {**self.properties, **properties}
        with _refusals(), letting_go(self.directory / WEIGHTS):
            if tokenizer is not None:
                pipeline = make(self.directory, tokenizer, scheduler_config, device, **wanted)
            else:
                pipeline = make(self.directory, scheduler_config, device, wanted)
            _warm(pipeline)
        return pipeline

    def embedding(self, device: str, properties: Mapping[str, Any]) -> Embedding:
        """Of a checkpoint whose task is to embed: call it with prompts of tokens.

        Raises CheckpointError.
        """
        wanted = {**self.properties, **properties}
        with _refusals(), letting_go(self.directory / WEIGHTS):
            embedding = Embedding(self.directory / GRAPH, device, wanted)
            embedding([[0]])
        return embedding

    def close(self) -> None:
        """After `pipeline` or `embedding`: what runs has its files mapped and needs no names."""
        if self.entry is not None:
            self.entry.close()
            self.entry = None


@contextmanager
def _refusals() -> Iterator[None]:
    """What the engine finds wrong is mostly a config.json that the weights do not fit."""
    try:
        yield
    except RuntimeError as error:
        words = " ".join(str(error).split())
        if refused := _CACHE_TYPE.search(words):
            raise CheckpointError(_wrong_cache_type(*refused.groups())) from error
        raise CheckpointError(
            f"the engine cannot run this checkpoint; do config.json and its weights belong "
            f"together? {words[:REFUSAL_CHARACTERS]}"
        ) from error


# The engine's own attention, which stores what it computes with, or 8 bits.
_CACHE_TYPE = re.compile(r"expect kvcache type (\w+), current: (\w+)")


def _wrong_cache_type(expected: str, given: str) -> str:
    dtype = _DTYPES.get(given, given)
    return (
        f"a cache of keys and values in {given} does not go with computing in {expected}: "
        f"leave --kv-cache-dtype out (8 bits), or set it to {_DTYPES.get(expected, expected)}, "
        f"or compute in {given} too, with --dtype {dtype}"
    )


_DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}


def _warm(pipeline: Any) -> None:
    import numpy as np
    import openvino
    import openvino_genai

    config = openvino_genai.GenerationConfig(max_new_tokens=1, ignore_eos=True)
    pipeline.generate([openvino.Tensor(np.zeros((1, 1), np.int64))], [config])


def prepare(
    checkpoint: Path, options: CheckpointOptions, cache_dir: Path | None, cache_bytes_max: int
) -> Prepared:
    """Blocking; *checkpoint* is a directory or a .gguf file. Raises CheckpointError."""
    if exported.is_exported(checkpoint):
        return _exported(checkpoint, options)
    files = _read(checkpoint, options)
    # One graph serves every precision, and every length where nothing in it depends on that.
    length = options.max_model_len if depends_on_length(files.config) else None
    asked = replace(options, precision="auto", max_model_len=length)
    entry = _find_or_build(checkpoint, files, asked, (cache_dir, cache_bytes_max))
    return Prepared(
        directory=entry.directory,
        max_model_len=files.max_model_len,
        vocab_size=files.config.vocab,
        eos_token_ids=files.eos_token_ids,
        task=files.task,
        cached=entry.cached,
        properties=dict(hint(options.precision, cpu_flags())),
        entry=entry,
    )


def _exported(checkpoint: Path, options: CheckpointOptions) -> Prepared:
    """As it is, where it is: it may be read-only."""
    exported.check(checkpoint, options)
    raw = read_json(checkpoint / "config.json")
    config = read_config({**text_part(raw), **dict(options.overrides)})
    path = checkpoint / "generation_config.json"
    return Prepared(
        directory=checkpoint,
        max_model_len=longest(config),
        vocab_size=config.vocab,
        eos_token_ids=eos_token_ids(read_json(path) if path.is_file() else {}, config),
        task="generate",
        cached=True,
        properties=dict(hint(options.precision, cpu_flags())),
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """A checkpoint as it was read, in whichever format."""

    config: Config
    tensors: Mapping[str, StoredTensor]
    eos_token_ids: tuple[int, ...]
    generation: Mapping[str, Any]  # generation_config.json
    pooling: Pooling | None = None  # of one that embeds
    scoring: Scoring | None = None  # of one that compares

    @property
    def task(self) -> Task:
        return "score" if self.scoring else "embed" if self.pooling else "generate"

    @property
    def max_model_len(self) -> int:
        length = longest(self.config)
        if self.config.architecture in ENCODERS:
            # RoBERTa's table of positions has rows for padding too.
            length -= first_position(self.config)
        return min(length, self.pooling.max_tokens or length) if self.pooling else length


def _read(checkpoint: Path, options: CheckpointOptions) -> _Files:
    if checkpoint.suffix == ".gguf":
        gguf = read_gguf(checkpoint)
        config = read_config({**gguf.config, **dict(options.overrides)})
        ends = gguf.eos_token_ids
        return _Files(config, gguf.tensors, ends, {"eos_token_id": list(ends)})
    raw = read_json(checkpoint / "config.json")
    config = read_config({**text_part(raw), **dict(options.overrides)})
    scoring = read_scoring(checkpoint, config)
    is_encoder = config.architecture in ENCODERS
    pooling = None if scoring else chosen_pooling(checkpoint, options, encoder=is_encoder)
    path = checkpoint / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    tensors, ends = read_tensors(checkpoint), eos_token_ids(generation, config)
    check_shapes(tensors, config)
    return _Files(config, tensors, ends, generation, pooling, scoring)


def _find_or_build(
    checkpoint: Path,
    files: _Files,
    options: CheckpointOptions,
    where: tuple[Path | None, int],
) -> cached_graphs.Entry:
    cache, key = _cache(*where), ""
    if cache is not None:
        settings = [files.config.raw, files.generation, files.pooling or files.scoring]
        key = graph_key(settings, files.tensors.values(), options)
        try:
            found = cache.get(key)
        except OSError as error:  # as of a file system that is read-only
            log.warning("no graph is kept: %s", error)
            cache = found = None
        if found is not None:
            return found
    graph = build(files, options)
    make = partial(write, graph, files)
    try:
        if cache is None:
            return cached_graphs.temporary(make, graph.blob.size)
        return cache.put(key, make, graph.blob.size)
    except (OSError, EOFError) as error:
        raise CheckpointError(f"the graph of {checkpoint} cannot be written: {error}") from error


def _cache(directory: Path | None, bytes_max: int) -> cached_graphs.Cache | None:
    if directory is None:
        return None
    try:
        return cached_graphs.Cache(directory, bytes_max)
    except OSError as error:
        log.warning("no graph is kept: %s", error)
        return None


def build(files: _Files, options: CheckpointOptions) -> Graph:
    """The graph, with its plan of weights."""
    config, pooling, scoring = files.config, files.pooling, files.scoring
    check_quantization(config.raw)
    make = family(config.architecture)
    graph = Graph(Blob())
    weights = Weights(graph, files.tensors, options.quantization)
    remembers = files.task == "generate"
    net = Network(graph, config, weights, options.max_model_len, remembers=remembers)
    if scoring is not None and scoring.separator is not None:
        net.kinds = kinds(net, scoring.separator)
    made = make(net)
    if scoring is not None:
        graph.result("score", score(net, made, scoring))
    elif pooling is not None:
        graph.result("embedding", pool(net, made, pooling))
    else:
        graph.result("logits", made)
    return graph


def write(graph: Graph, files: _Files, directory: Path) -> dict[str, int]:
    """What the engine opens: the graph, its weights, and how generation ends. Their checksums."""
    with (directory / WEIGHTS).open("wb") as file:
        checksum = graph.blob.write(file.fileno())
    text = graph.xml().encode()
    (directory / GRAPH).write_bytes(text)
    (directory / "config.json").write_text(json.dumps(dict(files.config.raw)))
    (directory / "generation_config.json").write_text(json.dumps(dict(files.generation)))
    return {WEIGHTS: checksum, GRAPH: crc32(text)}


def eos_token_ids(generation: Mapping[str, Any], config: Config) -> tuple[int, ...]:
    """Of the generation config, which knows ends of turns too; else of the model."""
    value = generation.get("eos_token_id")
    if value is None:
        value = config.raw.get("eos_token_id")
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token, int) for token in values):
        raise CheckpointError(f"eos_token_id is {value!r}, token ids are needed")
    return tuple(values)
