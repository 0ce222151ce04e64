"""How fast each pair of a head's dimensions turns, as config.json says. Values only.

Longer contexts than a model was trained with come by slowing some of them: by all the same
(linear), by the length so far (dynamic), by how often a pair turns in the trained length (llama3,
yarn), or by a list per pair (longrope).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from motorpool.modelserver.llm.checkpoint.config import Config
from motorpool.modelserver.llm.contract import CheckpointError

Array = npt.NDArray[np.float64]

KNOWN = ("default", "linear", "dynamic", "llama3", "yarn", "longrope", "su")


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Beyond *trained* tokens the base grows with the length."""

    base: float
    factor: float
    trained: int


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Radians a token, one for each pair; *scale* is on both cos and sin."""

    values: npt.NDArray[np.float32]
    scale: float = 1.0
    dynamic: Dynamic | None = None


def read_frequencies(config: Config, max_model_len: int | None) -> Frequencies:
    """*max_model_len* is the length to serve, which decides between longrope's two lists."""
    settings = _settings(config)
    kind = _kind(settings)
    try:
        base = float(settings["rope_theta"])
        rotated = int(config.head_dim * float(settings.get("partial_rotary_factor") or 1.0))
        if base <= 1 or rotated < 2 or rotated % 2:
            raise ValueError(f"{rotated} of a head turn, with the base {base:g}")
        plain = 1.0 / base ** (np.arange(0, rotated, 2) / rotated)
        return _scaled(kind, settings, plain, config, max_model_len)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"config.json: rope_scaling of type {kind!r} cannot be understood: {error!r}"
        ) from error


def depends_on_length(config: Config) -> bool:
    """Whether a graph is another one where less than the checkpoint's length is served."""
    return _kind(_settings(config)) in ("longrope", "su") or bool(config.raw.get("sliding_window"))


def longest(config: Config) -> int:
    """Tokens that the checkpoint claims to reach, its scaling included."""
    settings = _settings(config)
    kind = _kind(settings)
    if kind in ("default", "llama3", "longrope", "su"):
        return config.max_positions
    try:
        factor = float(settings.get("factor") or 1.0)
        trained = config.max_positions
        if kind == "yarn":
            trained = int(settings.get("original_max_position_embeddings") or trained)
        return int(trained * factor)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"config.json: rope_scaling has {error}") from error


def _settings(config: Config) -> dict[str, Any]:
    """The old layout (rope_theta, rope_scaling) and the new one (rope_parameters) as one."""
    raw = config.raw
    found: dict[str, Any] = {}
    for name in ("rope_scaling", "rope_parameters"):
        value = raw.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise CheckpointError(f"config.json: {name} is {value!r}, an object is needed")
        found |= value or {}
    for name in (
        "rope_theta",
        "partial_rotary_factor",
        "original_max_position_embeddings",
    ):
        if name not in found and raw.get(name) is not None:
            found[name] = raw[name]
    found.setdefault("rope_theta", 10000.0)
    return found


def _kind(settings: Mapping[str, Any]) -> str:
    kind = str(settings.get("rope_type") or settings.get("type") or "default")
    if kind not in KNOWN:
        raise CheckpointError(
            f"config.json: rope_scaling of type {kind!r} is not known, known are {', '.join(KNOWN)}"
        )
    return kind


def _scaled(
    kind: str,
    settings: Mapping[str, Any],
    plain: Array,
    config: Config,
    max_model_len: int | None,
) -> Frequencies:
    if kind == "linear":
        return _of(plain / float(settings["factor"]))
    if kind == "dynamic":
        base, factor = float(settings["rope_theta"]), float(settings["factor"])
        return Frequencies(
            plain.astype(np.float32), dynamic=Dynamic(base, factor, config.max_positions)
        )
    if kind == "llama3":
        return _of(_llama3(plain, settings))
    if kind == "yarn":
        return _yarn(plain, settings, config)
    if kind in ("longrope", "su"):
        return _longrope(plain, settings, config, max_model_len or config.max_positions)
    return _of(plain)


def _llama3(plain: Array, settings: Mapping[str, Any]) -> Array:
    factor = float(settings["factor"])
    low, high = float(settings["low_freq_factor"]), float(settings["high_freq_factor"])
    # How often a pair turns in the trained length: often stays, seldom is slowed, between is both.
    turns = float(settings["original_max_position_embeddings"]) * plain / (2 * math.pi)
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    slowed: Array = plain * (share + (1 - share) / factor)
    return slowed


def _yarn(plain: Array, settings: Mapping[str, Any], config: Config) -> Frequencies:
    trained = float(settings.get("original_max_position_embeddings") or config.max_positions)
    factor = float(settings.get("factor") or config.max_positions / trained)
    base, rotated = float(settings["rope_theta"]), 2 * len(plain)

    def pair_that_turns(times: float) -> float:
        return rotated * math.log(trained / (times * 2 * math.pi)) / (2 * math.log(base))

    low = pair_that_turns(float(settings.get("beta_fast") or 32))
    high = pair_that_turns(float(settings.get("beta_slow") or 1))
    if settings.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotated - 1)
    # A thousandth: two equal borders make a step, not a division by nothing.
    ramp = np.clip((np.arange(len(plain)) - low) / (high - low or 0.001), 0.0, 1.0)
    values = plain * (1 - ramp) + plain / factor * ramp
    scale = settings.get("attention_factor")
    if scale is None:
        scale = _yarn_scale(factor, settings.get("mscale"), settings.get("mscale_all_dim"))
    return _of(values, float(scale))


def _yarn_scale(factor: float, mscale: float | None, mscale_all: float | None) -> float:
    def of(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    return of(mscale) / of(mscale_all) if mscale and mscale_all else of(1.0)


def _longrope(
    plain: Array, settings: Mapping[str, Any], config: Config, length: int
) -> Frequencies:
    trained = int(settings.get("original_max_position_embeddings") or config.max_positions)
    # One list for all that is served, as a cached key cannot be turned again.
    name = "long_factor" if length > trained else "short_factor"
    slower = np.array(settings[name], np.float64)
    if slower.shape != plain.shape:
        raise ValueError(f"{name} has {len(slower)} numbers where {len(plain)} are needed")
    factor = float(settings.get("factor") or config.max_positions / trained)
    scale = settings.get("attention_factor")
    if scale is None:
        grown = 1 + math.log(factor) / math.log(trained) if factor > 1 else 1.0
        scale = math.sqrt(grown)
    return _of(plain / slower, float(scale))


def _of(values: Array, scale: float = 1.0) -> Frequencies:
    return Frequencies(values.astype(np.float32), scale)
