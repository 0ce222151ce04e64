"""GGUF files: their metadata as config.json would say it, their tensors by Hugging Face's names.

The engine has a reader of its own, which holds all of the weights in memory twice, knows fewer
types and keeps no graph; so the same graphs are built here from this file as from any other.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from motorpool.modelserver.llm.checkpoint.files import StoredTensor
from motorpool.modelserver.llm.checkpoint.ggml import BLOCKS
from motorpool.modelserver.llm.contract import CheckpointError

MAGIC = b"GGUF"
ALIGNMENT = 32  # where the file does not say another
COUNT_MAX = 10_000_000  # of anything; a larger number is no file of this format

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
# The numbers of tensor types; of floats with how numpy sees them.
_FLOATS = {0: ("f32", 4, "<f4"), 1: ("f16", 2, "<f2"), 30: ("bf16", 2, "<u2")}
_BLOCKS = {
    2: "q4_0",
    3: "q4_1",
    6: "q5_0",
    7: "q5_1",
    8: "q8_0",
    12: "q4_k",
    13: "q5_k",
    14: "q6_k",
}
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_NUMBERS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Gguf:
    """*config* is as config.json would have it; *tensors* are by Hugging Face's names."""

    metadata: Mapping[str, Any]
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a text or a turn."""
        names = ("eos_token_id", "eot_token_id", "eom_token_id")
        found = (self.metadata.get(f"tokenizer.ggml.{name}") for name in names)
        return tuple(dict.fromkeys(int(token) for token in found if token is not None))


def read_gguf(path: Path) -> Gguf:
    """Raises CheckpointError."""
    try:
        return _parsed(path)
    except (struct.error, LookupError, TypeError, ValueError, ArithmeticError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as GGUF: {error}") from error


def _parsed(path: Path) -> Gguf:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        metadata, stored = _read(path, _Reader(data))
    architecture = metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{path} has the architecture {architecture!r}; from GGUF this engine reads "
            f"{', '.join(ARCHITECTURES)}. The model's safetensors checkpoint may do"
        )
    if metadata.get("split.count", 1) > 1:
        raise CheckpointError(f"{path} is one of several parts; this engine reads whole files")
    factors = stored.pop("rope_freqs.weight", None)
    config = _config(_About(metadata, str(architecture)), factors)
    tensors = {_renamed(name): tensor for name, tensor in stored.items()}
    if architecture == "llama":
        _turn_back(tensors, config)
    return Gguf(metadata, config, tensors)


@dataclass(frozen=True, slots=True)
class _About:
    metadata: Mapping[str, Any]
    architecture: str

    def get(self, name: str, default: Any = None) -> Any:
        value = self.metadata.get(f"{self.architecture}.{name}", default)
        if value is None:
            raise CheckpointError(f"the GGUF file has no {self.architecture}.{name}")
        return value


def _config(about: _About, factors: StoredTensor | None) -> dict[str, Any]:
    heads, hidden = int(about.get("attention.head_count")), int(about.get("embedding_length"))
    tokens = about.metadata.get("tokenizer.ggml.tokens") or ()
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[about.architecture]],
        "model_type": about.architecture,
        "hidden_size": hidden,
        "intermediate_size": int(about.get("feed_forward_length")),
        "num_hidden_layers": int(about.get("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(about.get("attention.head_count_kv", heads)),
        "head_dim": int(about.get("attention.key_length", hidden // heads)),
        "max_position_embeddings": int(about.get("context_length")),
        "vocab_size": int(about.get("vocab_size", len(tokens))),
        "rms_norm_eps": float(about.get("attention.layer_norm_rms_epsilon", 1e-5)),
        "rope_theta": float(about.get("rope.freq_base", 10000.0)),
        "bos_token_id": about.metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": about.metadata.get("tokenizer.ggml.eos_token_id"),
    }
    kind = about.get("rope.scaling.type", "none")
    if factors is not None:
        # Llama 3's scaling, worked out for each pair when the file was made.
        slower = factors.floats().tolist()
        lists = {"short_factor": slower, "long_factor": slower, "attention_factor": 1.0}
        config["rope_scaling"] = {"type": "longrope", **lists}
    elif kind != "none":
        config["rope_scaling"] = {
            "type": kind,
            "factor": float(about.get("rope.scaling.factor", 1.0)),
            "original_max_position_embeddings": int(
                about.get("rope.scaling.original_context_length", config["max_position_embeddings"])
            ),
        }
    return config


def _renamed(name: str) -> str:
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_NAMES.get(parts[2], parts[2])}.{parts[3]}"
    return f"{_NAMES.get(parts[0], parts[0])}.{'.'.join(parts[1:])}"


def _turn_back(tensors: dict[str, StoredTensor], config: Mapping[str, Any]) -> None:
    """Llama's pairs to rotate are neighbours in this format, and half a head apart in ours."""
    counts = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, stored in tensors.items():
        heads = counts.get(name.rpartition(".")[0].rpartition(".")[2])
        if heads:
            rows = np.arange(stored.shape[0]).reshape(heads, -1, 2).swapaxes(1, 2).ravel()
            tensors[name] = stored.with_rows(rows)


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    @property
    def size(self) -> int:
        return len(self._data)

    def take(self, count: int) -> bytes:
        piece = self._data[self.at : self.at + count]
        if len(piece) < count:
            raise ValueError(f"it ends at byte {self.size}")
        self.at += count
        return piece

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self) -> int:
        value = int(self.number("<Q"))
        if value > COUNT_MAX:
            raise ValueError(f"it claims to have {value} of something")
        return value

    def text(self) -> str:
        return self.take(self.count()).decode("utf-8", "surrogateescape")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            inner = int(self.number("<I"))
            count = self.count()
            if inner in _NUMBERS:
                form = f"<{count}{_NUMBERS[inner][1]}"
                return list(struct.unpack(form, self.take(struct.calcsize(form))))
            if inner != _STRING:
                raise ValueError(f"it has an array of type {inner}")
            return [self.text() for _ in range(count)]
        if kind not in _NUMBERS:
            raise ValueError(f"it has a value of type {kind}")
        return self.number(_NUMBERS[kind])


def _read(path: Path, reader: _Reader) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    if reader.take(4) != MAGIC:
        raise ValueError("it does not begin with GGUF")
    version = reader.number("<I")
    if version not in (2, 3):
        raise ValueError(f"it has version {version}, known are 2 and 3")
    count, pairs = reader.count(), reader.count()
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        name = reader.text()
        metadata[name] = reader.value(reader.number("<I"))
    table: list[tuple[str, tuple[int, ...], int, int]] = []
    for _ in range(count):
        name, dims = reader.text(), reader.number("<I")
        if dims > 4:
            raise ValueError(f"tensor {name!r} has {dims} dimensions")
        shape = tuple(reader.number("<Q") for _ in range(dims))[::-1]
        table.append((name, shape, reader.number("<I"), reader.number("<Q")))
    alignment = int(metadata.get("general.alignment", ALIGNMENT))
    base = -(-reader.at // alignment) * alignment
    tensors = {row[0]: _stored(path, base, *row) for row in table}
    if any(one.offset + one.size > reader.size for one in tensors.values()):
        raise ValueError(f"its tensors need more than its {reader.size} bytes; is it whole?")
    return metadata, tensors


def _stored(
    path: Path, base: int, name: str, shape: tuple[int, ...], number: int, offset: int
) -> StoredTensor:
    if number in _FLOATS:
        kind, width, dtype = _FLOATS[number]
        return StoredTensor(name, path, kind, shape, base + offset, prod(shape) * width, dtype)
    block = BLOCKS.get(_BLOCKS.get(number, ""))
    if block is None or len(shape) != 2 or shape[1] % block.elements:
        raise CheckpointError(
            f"{path}: tensor {name!r} has the type {number}, this engine reads "
            f"{', '.join(sorted(name.upper() for name in _BLOCKS.values()))}, F16, BF16 and F32"
        )
    row = shape[1] // block.elements * block.bytes
    size = shape[0] * row
    return StoredTensor(name, path, _BLOCKS[number], shape, base + offset, size, "u1", (row,))
