"""The command line, with OpenVINO Model Server's names and meanings.

Pure: words in, `Settings` out, or `UsageError`. As OVMS reads them: `--name value` and
`--name=value`; a switch stands bare or has `=true`; of a flag given twice the last one counts
(KServe puts the user's arguments after the runtime's, so that is how a user overrides it).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from motorpool.modelserver.formats import Format
from motorpool.modelserver.layout import NO_LAYOUTS, Layouts, parse_layouts
from motorpool.modelserver.metrics import FAMILIES

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR")
NIREQ_MOST = 100_000
FORMATS = tuple(each.value for each in Format)
NTHREAD_MOST = 1024
BATCH_WINDOW_MOST_US = 1_000_000
REST_WORKERS = range(2, 10_001)


class UsageError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Settings:
    model_name: str = ""
    model_path: str = ""
    model_format: Format | None = None
    allow_pickle: bool = False
    predict_proba: bool = False
    nthread: int = 1
    port: int = 0
    rest_port: int = 0
    grpc_bind_address: tuple[str, ...] = ("0.0.0.0",)
    rest_bind_address: tuple[str, ...] = ("0.0.0.0",)
    layout: Layouts = NO_LAYOUTS
    target_device: str = ""
    nireq: int = 0
    batch_window_us: int = 0
    plugin_config: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    file_system_poll_wait_seconds: int = 1
    rest_workers: int | None = None
    metrics_enable: bool = False
    metrics_list: tuple[str, ...] | None = None
    log_level: str = "INFO"
    help: bool = False
    version: bool = False


MEANING = {
    "model_name": "name under which the model is served",
    "model_path": "directory with one numbered directory for each version",
    "model_format": "what the model is, instead of finding it out: " + ", ".join(map(str, FORMATS)),
    "allow_pickle": "load .joblib and .pkl files, which run code of whoever wrote them",
    "predict_proba": "scikit-learn classifiers answer with probabilities",
    "nthread": "threads of one XGBoost or LightGBM prediction (1)",
    "port": "port for gRPC; 0 turns it off",
    "rest_port": "port for REST; 0 turns it off",
    "grpc_bind_address": "addresses for gRPC, separated by commas (0.0.0.0)",
    "rest_bind_address": "addresses for REST, separated by commas (0.0.0.0)",
    "layout": "layout of requests and model, as NHWC:NCHW, or a JSON object by tensor name",
    "target_device": "OpenVINO device: CPU, GPU, AUTO, ...",
    "plugin_config": 'OpenVINO properties as a JSON object, as {"NUM_STREAMS": 2}',
    "nireq": "inferences at a time; 0 leaves it to the engine",
    "batch_window_us": "how long a request may wait for others to be computed with it (0)",
    "file_system_poll_wait_seconds": "how often to look for new versions; 0 = never (1)",
    "rest_workers": "threads that prepare requests, 2 to 10000",
    "metrics_enable": "serve /metrics on the REST port",
    "metrics_list": "metric families to serve, separated by commas",
    "log_level": "TRACE, DEBUG, INFO, WARNING or ERROR (INFO)",
    "help": "print this and exit",
    "version": "print the version and exit",
}


ALIASES = {
    "model_dir": "model_path",
    "http_port": "rest_port",
    "framework": "model_format",
}
"""What KServe's own servers call their flags -> OpenVINO Model Server's name."""


def parse(argv: Sequence[str]) -> Settings:
    """The settings that *argv*, without the program's name, asks for. Raises UsageError."""
    if not argv:
        return Settings(help=True)
    settings = replace(Settings(), **_values(argv))
    if not (settings.help or settings.version):
        _check(settings)
    return settings


def usage() -> str:
    width = max(map(len, MEANING))
    flags = "\n".join(f"  --{name:<{width}}  {meaning}" for name, meaning in MEANING.items())
    return f"Serves an OpenVINO model over REST.\n\nUsage: motorpool-server [flags]\n\n{flags}\n"


def _values(argv: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    unmatched: list[str] = []
    words = iter(argv)
    for word in words:
        name, separator, text = word.removeprefix("--").partition("=")
        name = ALIASES.get(name, name)
        if not word.startswith("--") or name not in _READ:
            unmatched.append(word)
        elif _READ[name] is _switch or separator:
            values[name] = _read(name, text)
        elif (following := next(words, None)) is not None:
            values[name] = _read(name, following)
        else:
            raise UsageError(f"error parsing options - option '{name}' is missing an argument")
    if unmatched:
        raise UsageError(f"error parsing options - unmatched arguments: {', '.join(unmatched)}")
    return values


def _read(name: str, text: str) -> Any:
    try:
        return _READ[name](text)
    except ValueError as error:
        raise UsageError(f"error parsing options - --{name}={text}: {error}") from None


def _check(settings: Settings) -> None:
    if not (settings.model_name and settings.model_path):
        raise UsageError("Use config_path or model_path with model_name")
    if not (settings.port or settings.rest_port):
        raise UsageError("port and rest_port cannot both be unset")
    if not settings.rest_port:
        raise UsageError("rest_port is required: this server does not speak gRPC yet")
    if settings.port == settings.rest_port:
        raise UsageError("port and rest_port cannot have the same values")
    if settings.metrics_list is not None and not settings.metrics_enable:
        raise UsageError(
            "metrics_enable setting is missing, required when metrics_list is provided"
        )


def _switch(text: str) -> bool:
    if re.fullmatch(r"|1|t|T|true|True|TRUE", text):
        return True
    if re.fullmatch(r"0|f|F|false|False|FALSE", text):
        return False
    raise ValueError("is neither true nor false")


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"should be a number from {low} to {high}")
        return int(text)

    return read


def _addresses(text: str) -> tuple[str, ...]:
    addresses = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[0-9A-Za-z.:_-]+", address) for address in addresses):
        raise ValueError("has invalid format: addresses or host names, separated by commas")
    return addresses


def _level(text: str) -> str:
    if text not in LOG_LEVELS:
        raise ValueError(f"log_level should be one of: {', '.join(LOG_LEVELS)}")
    return text


def _properties(text: str) -> Mapping[str, str | int | float | bool]:
    try:
        return msgspec.json.decode(text, type=dict[str, str | int | float | bool])
    except msgspec.DecodeError as error:
        raise ValueError(
            f"should be a JSON object of strings, numbers, booleans: {error}"
        ) from None


def _format(text: str) -> Format:
    if text not in FORMATS:
        raise ValueError(f"model_format should be one of: {', '.join(FORMATS)}")
    return Format(text)


def _families(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := sorted(set(names) - {family.name for family in FAMILIES}):
        raise ValueError(f"there is no metric named {', '.join(unknown)}")
    return names


_READ: dict[str, Callable[[str], Any]] = {
    "model_name": str,
    "model_path": str,
    "model_format": _format,
    "allow_pickle": _switch,
    "predict_proba": _switch,
    "nthread": _integer(1, NTHREAD_MOST),
    "port": _integer(0, 65_535),
    "rest_port": _integer(0, 65_535),
    "grpc_bind_address": _addresses,
    "rest_bind_address": _addresses,
    "layout": parse_layouts,
    "target_device": str,
    "plugin_config": _properties,
    "nireq": _integer(0, NIREQ_MOST),
    "batch_window_us": _integer(0, BATCH_WINDOW_MOST_US),
    "file_system_poll_wait_seconds": _integer(0, 2**31 - 1),
    "rest_workers": _integer(REST_WORKERS.start, REST_WORKERS.stop - 1),
    "metrics_enable": _switch,
    "metrics_list": _families,
    "log_level": _level,
    "help": _switch,
    "version": _switch,
}
assert set(_READ) == set(MEANING) == {field.name for field in fields(Settings)}
