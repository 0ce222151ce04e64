"""config.json: several models for one server. Pure: bytes in, what each model is out.

Unknown keys are refused at each level, as in OpenVINO Model Server, so that a typing mistake is no
silent default. What this server does not serve (graphs, pipelines, custom loaders) is refused by
name.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from motorpool.modelserver.flags import Settings, UsageError, check_steps, read_value
from motorpool.modelserver.policy import policy_of

UNSERVED = {
    "mediapipe_config_list": "MediaPipe graphs",
    "pipeline_config_list": "pipelines",
    "custom_node_library_config_list": "custom nodes",
    "custom_loader_config_list": "custom loaders",
}
WITHOUT_EFFECT = (
    "allow_cache",
    "stateful",
    "idle_sequence_cleanup",
    "low_latency_transformation",
    "max_sequence_number",
)


class ConfigError(Exception):
    """The file says something that cannot be; the text says what."""


class NotJson(ConfigError):
    pass


def parse_config(content: bytes, folder: Path, common: Settings) -> list[Settings]:
    """The settings of each model, over those that are *common*. Raises ConfigError.

    Relative paths start at *folder*.
    """
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(f"it is no JSON: {error}") from None
    _check_keys(document, {"model_config_list", "monitoring", *UNSERVED}, "the file")
    for key, what in UNSERVED.items():
        if document.get(key):
            raise ConfigError(f"{key}: {what} are not served here; take the entries out")
    entries = document.get("model_config_list")
    if not isinstance(entries, list):
        raise ConfigError("model_config_list is missing, or no list")
    models = [
        _model(entry, f"model_config_list[{index}]", folder, common)
        for index, entry in enumerate(entries)
    ]
    names = [model.model_name for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two models have the name {twice[0]}")
    return models


def monitoring(content: bytes) -> tuple[bool, tuple[str, ...] | None]:
    """Whether the file turns metrics on, and its list of families. Raises ConfigError."""
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(f"it is no JSON: {error}") from None
    metrics = (document.get("monitoring") or {}) if isinstance(document, dict) else {}
    _check_keys(metrics, {"metrics"}, "monitoring")
    metrics = metrics.get("metrics", {})
    _check_keys(metrics, {"enable", "metrics_list"}, "monitoring.metrics")
    names = metrics.get("metrics_list")
    if names is None:
        return metrics.get("enable") is True, None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("monitoring.metrics.metrics_list is no list of names")
    return metrics.get("enable") is True, _read("metrics_list", ",".join(names), "monitoring")


def _model(entry: Any, place: str, folder: Path, common: Settings) -> Settings:
    _check_keys(entry, {"config"}, place)
    config = entry.get("config")
    _check_keys(config, {*_KEYS, *WITHOUT_EFFECT}, f"{place}.config")
    for key in ("name", "base_path"):
        if not isinstance(config.get(key), str) or not config[key]:
            raise ConfigError(f"{place}.config.{key} is missing, or no text")
    values = {
        _KEYS[key][0]: _KEYS[key][1](value, f"{config['name']}: {key}")
        for key, value in config.items()
        if key in _KEYS
    }
    # An absolute path stays what it is.
    values["model_path"] = str(folder / values["model_path"])
    settings = msgspec.structs.replace(common, config_path="", **values)
    try:
        check_steps(settings)
    except UsageError as error:
        raise ConfigError(f"{config['name']}: {error}") from None
    return settings


def _check_keys(value: Any, known: set[str], place: str) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{place} is no object")
    if unknown := sorted(set(value) - known):
        raise ConfigError(f"{place} has no key {unknown[0]}; known are {', '.join(sorted(known))}")


def _read(flag: str, text: str, place: str) -> Any:
    try:
        return read_value(flag, text)
    except UsageError as error:
        raise ConfigError(f"{place}: {error}") from None


def _as_flag(flag: str) -> Callable[[Any, str], Any]:
    """Reads what the command line takes as text; an object is its own JSON there."""

    def read(value: Any, place: str) -> Any:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return _read(flag, text, place)

    return read


def _policy(value: Any, place: str) -> Any:
    try:
        return policy_of(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


# Each key: the setting that it gives, and how it is read.
_KEYS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "name": ("model_name", lambda value, _: value),
    "base_path": ("model_path", lambda value, _: value),
    "batch_size": ("batch_size", _as_flag("batch_size")),
    "shape": ("shape", _as_flag("shape")),
    "layout": ("layout", _as_flag("layout")),
    "precision": ("precision", _as_flag("precision")),
    "mean": ("mean", _as_flag("mean")),
    "scale": ("scale", _as_flag("scale")),
    "color_format": ("color_format", _as_flag("color_format")),
    "model_version_policy": ("model_version_policy", _policy),
    "nireq": ("nireq", _as_flag("nireq")),
    "target_device": ("target_device", _as_flag("target_device")),
    "plugin_config": ("plugin_config", _as_flag("plugin_config")),
}
