"""Tiny checkpoints as compressed-tensors writes them, each with a plain twin of its numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.modelserver.llm.checkpoints import (
    DEFAULTS,
    FAMILIES,
    Array,
    make_checkpoint,
    random_tensors,
    write_safetensors,
)

GROUP = 32

# What is stored in place of NAME.weight, by its suffix; and the numbers that it stands for.
Stored = tuple[dict[str, Array], Array]


def w8a8(weight: Array) -> Stored:
    scales = np.abs(weight).max(axis=1, keepdims=True) / 127
    codes = np.rint(weight / scales).astype(np.int8)
    return {"weight": codes, "weight_scale": scales}, codes * scales


def w4a16(weight: Array) -> Stored:
    codes, scales = _grouped(weight)
    return _packed(weight, codes + 8, scales), _of_groups(codes, scales)


def w4a16_reordered(weight: Array) -> Stored:
    """Columns belong to groups in no order, as the sorting by activations leaves them."""
    order = np.random.default_rng(5).permutation(weight.shape[1])
    codes, scales = _grouped(weight[:, order])
    values = np.empty_like(weight)
    values[:, order] = _of_groups(codes, scales)
    in_place = np.empty_like(codes)
    in_place[:, order] = codes
    groups = np.empty(weight.shape[1], np.int32)
    groups[order] = np.arange(weight.shape[1]) // GROUP
    return _packed(weight, in_place + 8, scales) | {"weight_g_idx": groups}, values


def w4a16_asymmetric(weight: Array) -> Stored:
    grouped = weight.reshape(len(weight), -1, GROUP)
    low, high = grouped.min(axis=2), grouped.max(axis=2)
    scales = (high - low) / 15
    zeros = np.rint(-low / scales).astype(np.int32)
    codes = np.clip(np.rint(grouped / scales[..., None] + zeros[..., None]), 0, 15)
    values = ((codes - zeros[..., None]) * scales[..., None]).reshape(weight.shape)
    parts = _packed(weight, codes.reshape(weight.shape).astype(np.int32), scales)
    return parts | {"weight_zero_point": _words(zeros.T).T.copy()}, values


def w8a16(weight: Array) -> Stored:
    scales = np.abs(weight).max(axis=1, keepdims=True) / 127
    codes = np.rint(weight / scales).astype(np.int32)
    words = (codes + 128).astype(np.uint8).view(np.int32)
    shape = np.array(weight.shape, np.int64)
    parts = {"weight_packed": words, "weight_scale": scales, "weight_shape": shape}
    return parts, codes * scales


def fp8(weight: Array) -> Stored:
    scales = np.abs(weight).max(axis=1, keepdims=True) / 448
    codes = _nearest_e4m3(weight / scales)
    return {"weight": Float8(codes), "weight_scale": scales}, _e4m3()[codes] * scales


def fp8_static(weight: Array) -> Stored:
    scale = np.abs(weight).max().reshape(1) / 448
    codes = _nearest_e4m3(weight / scale)
    parts = {"weight": Float8(codes), "weight_scale": scale, "input_scale": np.ones(1, np.float32)}
    return parts, _e4m3()[codes] * scale


SCHEMES: dict[str, tuple[str, Callable[[Array], Stored]]] = {
    "w8a8": ("int-quantized", w8a8),
    "w4a16": ("pack-quantized", w4a16),
    "w4a16-reordered": ("pack-quantized", w4a16_reordered),
    "w4a16-asymmetric": ("pack-quantized", w4a16_asymmetric),
    "w8a16": ("pack-quantized", w8a16),
    "FP8-dynamic": ("float-quantized", fp8),
    "FP8": ("float-quantized", fp8_static),
}


def make_quantized(directory: Path, scheme: str, family: str = "llama") -> tuple[Path, Path]:
    """The checkpoint in *scheme*, and its plain twin in f32."""
    form, store = SCHEMES[scheme]
    plain = make_checkpoint(directory / "plain", family, dtype="f32")
    quantized = make_checkpoint(directory / "quantized", family, dtype="f32")
    tensors = random_tensors({**DEFAULTS, **FAMILIES[family]}, np.random.default_rng(1))
    twins, stored = dict(tensors), dict(tensors)
    for name, weight in tensors.items():
        if not name.endswith("_proj.weight"):
            continue
        parts, values = store(weight)
        twins[name] = values.astype(np.float32)
        del stored[name]
        base = name.removesuffix(".weight")
        stored |= {f"{base}.{suffix}": _as_stored(part) for suffix, part in parts.items()}
    write_safetensors(plain / "model.safetensors", twins, "f32")
    write_safetensors(quantized / "model.safetensors", stored, "f32")
    config: dict[str, Any] = json.loads((quantized / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": {"targets": ["Linear"]}},
        "ignore": ["lm_head"],
    }
    (quantized / "config.json").write_text(json.dumps(config))
    return quantized, plain


class Float8(np.ndarray[Any, np.dtype[np.uint8]]):
    """Bytes that are written as F8_E4M3."""

    def __new__(cls, codes: Array) -> "Float8":
        return codes.astype(np.uint8).view(cls)


def _as_stored(part: Array) -> Array:
    return part.astype(np.float32) if part.dtype == np.float64 else part


def _grouped(weight: Array) -> tuple[Array, Array]:
    grouped = weight.reshape(len(weight), -1, GROUP)
    scales = np.abs(grouped).max(axis=2) / 7
    codes = np.clip(np.rint(grouped / scales[..., None]), -8, 7).astype(np.int32)
    return codes.reshape(weight.shape), scales


def _of_groups(codes: Array, scales: Array) -> Array:
    grouped = codes.reshape(len(codes), -1, GROUP)
    values: Array = (grouped * scales[..., None]).reshape(codes.shape)
    return values


def _packed(weight: Array, codes: Array, scales: Array) -> dict[str, Array]:
    shape = np.array(weight.shape, np.int64)
    return {"weight_packed": _words(codes), "weight_scale": scales, "weight_shape": shape}


def _words(codes: Array) -> Array:
    """Eight codes to a word of 32 bits, the first in the lowest bits."""
    eights = codes.astype(np.uint32).reshape(len(codes), -1, 8)
    shifts = np.arange(0, 32, 4, dtype=np.uint32)
    words: Array = np.bitwise_or.reduce(eights << shifts, axis=2).astype(np.uint32).view(np.int32)
    return words


def _e4m3() -> Array:
    """All the numbers there are, by counting up: subnormals, then each exponent's eight."""
    steps = [np.arange(8) * 2.0**-9]
    steps += [(8 + np.arange(8)) * 2.0 ** (e - 10) for e in range(1, 16)]
    positive = np.concatenate(steps)
    positive[127] = np.nan
    return np.concatenate([positive, -positive]).astype(np.float32)


def _nearest_e4m3(values: Array) -> Array:
    numbers = _e4m3()[:127]
    middles = (numbers[1:] + numbers[:-1]) / 2
    codes = np.searchsorted(middles, np.abs(values))
    return (codes + 128 * (values < 0)).astype(np.uint8)
