"""Tiny GGUF files, of the same random weights as the checkpoints."""

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.modelserver.llm.checkpoints import (
    CHAT_TEMPLATE,
    DEFAULTS,
    FAMILIES,
    Array,
    make_tokenizer,
    random_tensors,
)

F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8
ALIGNMENT = 32

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def make_gguf(
    path: Path, family: str, kind: int = F16, rounded_to: int | None = None, **config: Any
) -> Path:
    """*rounded_to* is a type whose numbers the matrices have, in whichever type they are stored."""
    settings = {**DEFAULTS, **FAMILIES[family], **config}
    tensors = random_tensors(settings, np.random.default_rng(1))
    stored = {}
    for name, values in tensors.items():
        array = _interleaved(name, values, settings) if family == "llama" else values
        matrix = array.ndim == 2
        if matrix and rounded_to is not None:
            array = _rounded(array, rounded_to)
        stored[_renamed(name)] = (array.shape, *_encode(array, kind if matrix else F32))
    _write(path, _metadata(settings, family), stored)
    return path


def _metadata(config: dict[str, Any], family: str) -> dict[str, Any]:
    heads = config["num_attention_heads"]
    vocabulary, merges = _tokenizer()
    tokens = vocabulary + [f"<unused{n}>" for n in range(config["vocab_size"] - len(vocabulary))]
    return {
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
        "general.architecture": family,
        "general.file_type": 1,
        f"{family}.block_count": config["num_hidden_layers"],
        f"{family}.context_length": config["max_position_embeddings"],
        f"{family}.embedding_length": config["hidden_size"],
        f"{family}.feed_forward_length": config["intermediate_size"],
        f"{family}.attention.head_count": heads,
        f"{family}.attention.head_count_kv": config["num_key_value_heads"],
        f"{family}.attention.key_length": config.get("head_dim") or config["hidden_size"] // heads,
        f"{family}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        f"{family}.rope.freq_base": config["rope_theta"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(tokens) - 3),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.eot_token_id": 2,
    }


def _tokenizer() -> tuple[list[str], list[str]]:
    """Tokens and merges of the checkpoints' tokenizer."""
    with tempfile.TemporaryDirectory() as name:
        make_tokenizer(Path(name))
        model = json.loads((Path(name) / "tokenizer.json").read_text())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), merges


def _renamed(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    if name == "lm_head.weight":
        return "output.weight"
    _, _, layer, rest = name.split(".", 3)
    part, suffix = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[part]}.{suffix}"


def _interleaved(name: str, values: Array, config: dict[str, Any]) -> Array:
    """The format has Llama's heads with the two of each rotated pair beside each other."""
    counts = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    for part, count in counts.items():
        if part in name:
            heads = config[count]
            halves = values.reshape(heads, 2, -1, values.shape[1])
            return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
    return values


def _encode(array: Array, kind: int) -> tuple[int, bytes]:
    if kind == F32:
        return kind, np.ascontiguousarray(array, np.float32).tobytes()
    if kind == F16:
        return kind, array.astype(np.float16).tobytes()
    blocks = array.reshape(-1, 32)
    if kind == Q8_0:
        scales = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float16)
        codes = np.rint(blocks / np.maximum(scales, np.float16(1e-7))).astype(np.int8)
        return kind, np.hstack([scales.view(np.uint8), codes.view(np.uint8)]).tobytes()
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype(np.float16)
    codes = np.clip(np.rint(blocks / scales.astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    packed = codes[:, :16] | (codes[:, 16:] << 4)
    return Q4_0, np.hstack([scales.view(np.uint8), packed]).tobytes()


def _rounded(array: Array, kind: int) -> Array:
    """The numbers that blocks stand for."""
    _, data = _encode(array, kind)
    blocks = np.frombuffer(data, np.uint8).reshape(array.size // 32, -1)
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if kind == Q8_0:
        codes = blocks[:, 2:].copy().view(np.int8).astype(np.float32)
    else:
        codes = np.hstack([blocks[:, 2:] & 15, blocks[:, 2:] >> 4]).astype(np.float32) - 8
    rounded: Array = (codes * scales).reshape(array.shape)
    return rounded


def _write(
    path: Path, metadata: dict[str, Any], tensors: dict[str, tuple[tuple[int, ...], int, bytes]]
) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(name) + _value(value) for name, value in metadata.items())
    at = 0
    for name, (shape, kind, data) in tensors.items():
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += _text(name) + dims + struct.pack("<IQ", kind, at)
        at += len(data) + -len(data) % ALIGNMENT
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for _, _, data in tensors.values():
            file.write(data + bytes(-len(data) % ALIGNMENT))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, list) and isinstance(value[0], int):
        return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    if isinstance(value, list):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    return struct.pack("<II", 4, value)
