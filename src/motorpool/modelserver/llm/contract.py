"""What the graph builder, the engine and the HTTP interface know of one another. Values only.

Rules: nothing here imports an engine, so that the HTTP process never loads one.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length", "abort", "error"]
Quantization = Literal["none", "int8", "int4"]
Precision = Literal["auto", "bf16", "f16", "f32"]
PoolingWay = Literal["cls", "mean", "last"]
Task = Literal["generate", "embed", "score"]
"""What a checkpoint is for: to write, to make vectors of texts, or to say how well two match."""


class CheckpointError(Exception):
    """These files cannot be served; the message says which field or file, and what would do."""


class EngineDead(Exception):
    """The engine's process has ended; the message has its exit code and its last words."""


class EngineBusy(Exception):
    """More generations wait than may; a later one may find room."""


@dataclass(frozen=True, slots=True)
class CheckpointOptions:
    """What beside the files decides how the graph comes out; part of the graph cache's key."""

    precision: Precision = "auto"  # of the computation; auto: what this CPU is fastest at
    quantization: Quantization = "none"  # of the weights of a plain checkpoint, while loading
    max_model_len: int | None = None  # tokens; longrope and windows depend on what is served
    overrides: tuple[tuple[str, Any], ...] = ()  # fields of config.json, from --hf-overrides
    embeds: bool = False  # also a checkpoint that writes; by its last token unless told otherwise
    pooling: PoolingWay | None = None  # of one that embeds; None: as its files say
    normalize: bool | None = None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine runs a checkpoint."""

    checkpoint: Path  # a directory of Hugging Face files, or a .gguf file
    tokenizer: Path | None = None  # a directory or .gguf file; None: the checkpoint's own
    cache_dir: Path | None = None  # writable; None: no graph is kept
    cache_bytes_max: int = 20 * 1024**3
    graph: CheckpointOptions = field(default_factory=CheckpointOptions)
    max_model_len: int | None = None  # tokens; None: what the checkpoint says
    max_num_seqs: int = 256
    max_waiting: int = 8192  # beside those that run; more are refused
    max_num_batched_tokens: int | None = None  # None: as measured to be best
    kv_cache_bytes: int | None = None  # None: grows on demand up to a share of the memory limit
    kv_cache_precision: Literal["auto", "u8", "f16", "bf16", "f32"] = "auto"
    prefix_caching: bool = True
    threads: int | None = None  # None: the CPU limit of this process
    properties: Mapping[str, Any] = field(default_factory=dict)  # handed to the engine as they are


@dataclass(frozen=True, slots=True)
class Structure:
    """What the answer's text must match."""

    kind: Literal["json", "json_object", "regex", "choice", "grammar"]
    text: str = ""  # a JSON schema, a regular expression, an EBNF grammar
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """One answer's sampling. Stop strings are not here: they are found in the text."""

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0  # 0: greedy
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    seed: int = 0  # always set: the engine's own default repeats itself
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop_token_ids: tuple[int, ...] = ()  # beside the checkpoint's own ends of text
    ignore_eos: bool = False
    logprobs: bool = False  # of the chosen tokens
    structure: Structure | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One prompt to be continued. *id* is the caller's and unique while it runs."""

    id: str
    prompt: Sequence[int]
    sampling: Sampling


@dataclass(slots=True)
class Tokens:
    """What came of a generation since the last event; the last one has *finish*.

    Where that is "stop" the last of all ids is the one that ended it, and part of no text. An
    "error" is the request's own: what fails in the engine itself is EngineDead.
    """

    ids: list[int]
    logprobs: list[float] = field(default_factory=list)  # as many as ids, where asked for
    finish: FinishReason | None = None
    stop_token: int | None = None  # the stop_token_id that ended it; None for the end of text
    message: str = ""  # of an error


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the engine has loaded."""

    max_model_len: int  # tokens of prompt and answer together
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    kv_block_tokens: int
    kv_cache_bytes_max: int
    threads: int
    task: Task
    load_s: float  # from the start of the engine's process until it could answer
    cached_graph: bool


@dataclass(frozen=True, slots=True)
class EngineState:
    """For the metrics; as fresh as the engine's last step."""

    running: int
    waiting: int
    kv_cache_usage: float  # 0 to 1
    steps: int  # since the start
    prefix_cache_queries: int = 0  # tokens
    prefix_cache_hits: int = 0  # tokens
    preemptions: int = 0


class Engine(Protocol):
    """This side of the engine's process; on one event loop."""

    async def start(self) -> ModelInfo:
        """Returns once it can answer. Raises CheckpointError, EngineDead."""
        ...

    def generate(self, generation: Generation) -> AsyncIterator[Tokens]:
        """Events until one has *finish*. Closing the iterator cancels within one step.

        Raises EngineDead where the process ends meanwhile, EngineBusy instead of a first event.
        """
        ...

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One vector a prompt, as the checkpoint pools and normalises them; of pairs one number.

        Raises EngineDead, ValueError for what cannot be embedded.
        """
        ...

    @property
    def state(self) -> EngineState: ...

    async def died(self) -> EngineDead:
        """Waits for the end of the process; cancel it where nobody cares any more."""
        ...

    async def stop(self) -> None:
        """Ends the process; what runs is aborted."""
        ...
