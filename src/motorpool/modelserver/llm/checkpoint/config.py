"""config.json, read into what every architecture has in common; the rest stays at hand by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from motorpool.modelserver.llm.contract import CheckpointError

NUMBER_MAX = 1e18  # of anything that a configuration says; far from where f32 ends


@dataclass(frozen=True, slots=True)
class Config:
    """*raw* is the whole of it: architectures read their own fields there."""

    raw: Mapping[str, Any]
    architecture: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    norm_eps: float
    activation: str
    tied: bool
    max_positions: int

    def number(self, name: str, default: float) -> float:
        value = self.raw.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CheckpointError(f"config.json: {name} is {value!r}, a number is needed")
        if not abs(value) < NUMBER_MAX:
            raise CheckpointError(f"config.json: {name} is {value!r}, which cannot be meant")
        return float(value)

    def positive(self, name: str, default: float) -> float:
        value = self.number(name, default)
        if value <= 0:
            raise CheckpointError(f"config.json: {name} is {value:g}, more than 0 is needed")
        return value

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer sees, its own included; None: all."""
        window = int(self.number("sliding_window", 0))
        if window < 1:
            return None
        kinds = self.raw.get("layer_types")
        if isinstance(kinds, list) and len(kinds) == self.layers:
            return window if kinds[layer] == "sliding_attention" else None
        model = self.raw.get("model_type")
        if model == "gemma2" and layer % 2:
            return None
        if model in ("qwen2", "qwen3") and layer < self.number("max_window_layers", 0):
            return None
        return window


# Models of images and text, of which the part for text is served: what that is by itself.
_TEXT_PARTS = {"Mistral3ForConditionalGeneration": "MistralForCausalLM"}


def text_part(raw: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of the language model alone."""
    architectures, text = raw.get("architectures"), raw.get("text_config")
    if not isinstance(architectures, list) or not isinstance(text, Mapping):
        return dict(raw)
    inner = _TEXT_PARTS.get(str(architectures[0])) if architectures else None
    if inner is None:
        return dict(raw)
    outer = {key: value for key, value in raw.items() if key not in ("text_config", "model_type")}
    return {**outer, **text, "architectures": [inner]}


def read_config(raw: Mapping[str, Any]) -> Config:
    architectures = raw.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        raise CheckpointError("config.json: architectures is missing, it names the model's class")
    hidden, heads = _size(raw, "hidden_size"), _size(raw, "num_attention_heads")
    kv_heads = _size(raw, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise CheckpointError(
            f"config.json: {heads} num_attention_heads cannot share {kv_heads} num_key_value_heads"
        )
    config = Config(
        raw=raw,
        architecture=str(architectures[0]),
        hidden=hidden,
        layers=_size(raw, "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_size(raw, "head_dim", hidden // heads),
        vocab=_size(raw, "vocab_size"),
        norm_eps=1e-6,
        activation=str(raw.get("hidden_activation") or raw.get("hidden_act") or "silu"),
        tied=bool(raw.get("tie_word_embeddings", False)),
        max_positions=_size(raw, "max_position_embeddings", 2048),
    )
    eps = config.number("rms_norm_eps", config.number("layer_norm_eps", 1e-6))
    return replace(config, norm_eps=eps)


def _size(raw: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = raw.get(name)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < NUMBER_MAX:
        raise CheckpointError(f"config.json: {name} is {value!r}, a whole number is needed")
    return value
