"""How pixels become what a model was trained on: types, colours, mean and scale. Pure.

In OpenVINO Model Server's notation. `--precision=uint8:fp32` says that requests come in uint8 and
the model's file has fp32; `--color_format=RGB:BGR` in the same way. Mean and scale are one number,
or one for each channel.
"""

import re
from typing import NamedTuple

import msgspec

PRECISIONS = {
    "fp32": "f32",
    "fp16": "f16",
    "fp64": "f64",
    "bf16": "bf16",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint64": "u64",
    "uint32": "u32",
    "uint16": "u16",
    "uint8": "u8",
}
COLOURS = {
    "BGR": "BGR",
    "RGB": "RGB",
    "GRAY": "GRAY",
    "NV12": "NV12_SINGLE_PLANE",
    "NV12_2": "NV12_TWO_PLANES",
    "I420": "I420_SINGLE_PLANE",
    "I420_3": "I420_THREE_PLANES",
}


class Pair(NamedTuple):
    """What requests have, and what the model's file has."""

    request: str
    model: str


class Steps(msgspec.Struct, frozen=True):
    precision: Pair | None = None
    colours: Pair | None = None
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.precision or self.colours or self.mean or self.scale)


NO_STEPS = Steps()


def parse_precision(text: str) -> Pair:
    """Raises ValueError."""
    return _pair(text.lower(), PRECISIONS)


def parse_colours(text: str) -> Pair:
    """Raises ValueError."""
    return _pair(text.upper(), COLOURS)


def parse_numbers(text: str) -> tuple[float, ...]:
    """One number, or several in brackets or not. Raises ValueError."""
    parts = re.sub(r"[\[\]()\s]", "", text).split(",")
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise ValueError("should be a number, or one for each channel as [1,2,3]") from None


def _pair(text: str, known: dict[str, str]) -> Pair:
    words = re.sub(r"\s", "", text).split(":")
    if len(words) != 2 or not all(word in known for word in words):
        first, second, *_ = known
        raise ValueError(f"should be two of {', '.join(known)}, as {second}:{first}")
    return Pair(known[words[0]], known[words[1]])
