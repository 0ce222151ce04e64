"""The command line, with OpenVINO Model Server's names and meanings.

Pure: words in, `Settings` out, or `UsageError`. As OVMS reads them: `--name value` and
`--name=value`; a switch stands bare or has `=true`; of a flag given twice the last one counts
(KServe puts the user's arguments after the runtime's, so that is how a user overrides it).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from motorpool.modelserver.flagnames import (
    ALIASES,
    GENERATIVE,
    SWITCHES_WITHOUT_EFFECT,
    WITHOUT_EFFECT,
)
from motorpool.modelserver.formats import Format
from motorpool.modelserver.layout import NO_LAYOUTS, Layouts, parse_layouts
from motorpool.modelserver.metrics import FAMILIES, OF_GRAPHS
from motorpool.modelserver.policy import LATEST, VersionPolicy, parse_policy
from motorpool.modelserver.preprocess import (
    Pair,
    parse_colours,
    parse_numbers,
    parse_precision,
)
from motorpool.modelserver.shape import (
    NO_SHAPES,
    Bounds,
    Shapes,
    parse_batch_size,
    parse_shapes,
)

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR")
NIREQ_MOST = 100_000
OF_ONE_MODEL = (
    "model_version_policy",
    "layout",
    "shape",
    "batch_size",
    "precision",
    "color_format",
    "mean",
    "scale",
    "target_device",
    "plugin_config",
    "nireq",
)
FORMATS = tuple(each.value for each in Format)
NTHREAD_MOST = 1024
BATCH_WINDOW_MOST_US = 1_000_000
REST_WORKERS = range(2, 10_001)


class UsageError(Exception):
    pass


class Settings(msgspec.Struct, frozen=True):
    model_name: str = ""
    model_path: str = ""
    model_format: Format | None = None
    allow_pickle: bool = False
    predict_proba: bool = False
    nthread: int = 1
    config_path: str = ""
    model_version_policy: VersionPolicy = LATEST
    port: int = 0
    rest_port: int = 0
    grpc_bind_address: tuple[str, ...] = ("0.0.0.0",)
    rest_bind_address: tuple[str, ...] = ("0.0.0.0",)
    grpc_channel_arguments: tuple[tuple[str, str | int], ...] = ()
    grpc_memory_quota: int = 2**31
    layout: Layouts = NO_LAYOUTS
    shape: Shapes = NO_SHAPES
    batch_size: Bounds | None = None
    precision: Pair | None = None
    color_format: Pair | None = None
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    target_device: str = ""
    nireq: int = 0
    batch_window_us: int = 0
    plugin_config: Mapping[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    cache_dir: str = ""
    cpu_extension: str = ""
    file_system_poll_wait_seconds: int = 1
    rest_workers: int | None = None
    metrics_enable: bool = False
    metrics_list: tuple[str, ...] | None = None
    allow_credentials: bool = False
    allowed_origins: str = "*"
    allowed_methods: str = "*"
    allowed_headers: str = "*"
    log_level: str = "INFO"
    log_path: str = ""
    without_effect: tuple[str, ...] = ()  # flags that were given and change nothing here
    help: bool = False
    version: bool = False


MEANING = {
    "model_name": "name under which the model is served",
    "model_path": "directory with one numbered directory for each version",
    "model_format": "what the model is, instead of finding it out: " + ", ".join(map(str, FORMATS)),
    "allow_pickle": "load .joblib and .pkl files, which run code of whoever wrote them",
    "predict_proba": "scikit-learn classifiers answer with probabilities",
    "nthread": "threads of one XGBoost or LightGBM prediction (1)",
    "config_path": "JSON file with several models, instead of model_name and model_path",
    "model_version_policy": 'versions to serve: {"latest": {"num_versions": 2}}, {"all": {}}, '
    '{"specific": {"versions": [1, 3]}}',
    "port": "port for gRPC; 0 turns it off",
    "rest_port": "port for REST; 0 turns it off",
    "grpc_bind_address": "addresses for gRPC, separated by commas (0.0.0.0)",
    "rest_bind_address": "addresses for REST, separated by commas (0.0.0.0)",
    "layout": "layout of requests and model, as NHWC:NCHW, or a JSON object by tensor name",
    "shape": "shape of the input as (1,3,-1,200:500), auto, or a JSON object by name",
    "batch_size": "size of the dimension N: a number, a range as 1:8, or auto",
    "precision": "type of requests and of the model, as uint8:fp32; needs layout",
    "color_format": "colours of requests and of the model, as RGB:BGR; needs layout",
    "mean": "subtracted from each value: one number, or one for each channel; needs layout",
    "scale": "each value is divided by: one number, or one for each channel; needs layout",
    "target_device": "OpenVINO device: CPU, GPU, AUTO, ...",
    "plugin_config": 'OpenVINO properties as a JSON object, as {"NUM_STREAMS": 2}',
    "nireq": "inferences at a time; 0 leaves it to the engine",
    "batch_window_us": "how long a request may wait for others to be computed with it (0)",
    "cache_dir": "directory for compiled models",
    "cpu_extension": "shared library with operations that OpenVINO lacks",
    "grpc_channel_arguments": "options of gRPC as name=value, separated by commas",
    "grpc_memory_quota": "bytes of gRPC requests that are held at a time (2147483648)",
    "file_system_poll_wait_seconds": "how often to look for new versions; 0 = never (1)",
    "rest_workers": "threads that prepare requests, 2 to 10000",
    "metrics_enable": "serve /metrics on the REST port",
    "metrics_list": "metric families to serve, separated by commas",
    "allow_credentials": "CORS: browsers may send credentials",
    "allowed_origins": "CORS: who may read answers in a browser (*)",
    "allowed_methods": "CORS: methods (*)",
    "allowed_headers": "CORS: headers (*)",
    "log_path": "file that gets the log lines as well",
    "log_level": "TRACE, DEBUG, INFO, WARNING or ERROR (INFO)",
    "help": "print this and exit",
    "version": "print the version and exit",
}


def parse(argv: Sequence[str]) -> Settings:
    """The settings that *argv*, without the program's name, asks for. Raises UsageError."""
    if not argv:
        return Settings(help=True)
    settings = msgspec.structs.replace(Settings(), **_values(argv))
    if not (settings.help or settings.version):
        _check(settings)
    return settings


def is_generative(argv: Sequence[str]) -> bool:
    """Whether *argv* asks for a task of language models; see `llm/ovms/flags`."""
    return any(word == "--task" or word.startswith("--task=") for word in argv)


def usage() -> str:
    width = max(map(len, MEANING))
    flags = "\n".join(f"  --{name:<{width}}  {meaning}" for name, meaning in MEANING.items())
    return f"Serves models over REST and gRPC.\n\nUsage: motorpool-server [flags]\n\n{flags}\n"


def read_value(name: str, text: str) -> Any:
    """The value of the flag *name*. Raises UsageError."""
    try:
        return _READ[name](text)
    except ValueError as error:
        raise UsageError(f"error parsing options - --{name}={text}: {error}") from None


def _values(argv: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    without_effect: list[str] = []
    unmatched: list[str] = []
    words = iter(argv)
    for word in words:
        name, separator, text = word.removeprefix("--").partition("=")
        name = ALIASES.get(name, name)
        if word.startswith("--") and name in GENERATIVE:
            raise UsageError(f"--{name}: this server has no generative models, and pulls none")
        if not word.startswith("--") or name not in (*_READ, *WITHOUT_EFFECT):
            unmatched.append(word)
            continue
        if not (_is_switch(name) or separator):
            text = _following(words, name)
        if name in WITHOUT_EFFECT:
            without_effect.append(name)
        else:
            values[name] = read_value(name, text)
    if unmatched:
        raise UsageError(f"error parsing options - unmatched arguments: {', '.join(unmatched)}")
    return values | {"without_effect": tuple(without_effect)}


def _is_switch(name: str) -> bool:
    return name in SWITCHES_WITHOUT_EFFECT or _READ.get(name) is _switch


def _following(words: Iterator[str], name: str) -> str:
    following = next(words, None)
    if following is None:
        raise UsageError(f"error parsing options - option '{name}' is missing an argument")
    return following


def _check(settings: Settings) -> None:
    _check_models(settings)
    if not (settings.port or settings.rest_port):
        raise UsageError("port and rest_port cannot both be unset")
    if settings.port == settings.rest_port:
        raise UsageError("port and rest_port cannot have the same values")
    if settings.metrics_enable and not settings.rest_port:
        raise UsageError("rest_port setting is missing, metrics are enabled on rest port")
    if settings.metrics_list is not None and not settings.metrics_enable:
        raise UsageError(
            "metrics_enable setting is missing, required when metrics_list is provided"
        )


def _check_models(settings: Settings) -> None:
    if settings.config_path:
        if settings.model_name or settings.model_path:
            raise UsageError("Use either config_path or model_path with model_name")
        if any(getattr(settings, name) != getattr(Settings(), name) for name in OF_ONE_MODEL):
            raise UsageError("Model parameters in CLI are exclusive with the config file")
    elif not (settings.model_name and settings.model_path):
        raise UsageError("Use config_path or model_path with model_name")
    check_steps(settings)


def check_steps(settings: Settings) -> None:
    """Raises UsageError: what is done to pixels needs to know which dimension is which."""
    steps = settings.precision, settings.color_format, settings.mean, settings.scale
    if any(steps) and settings.layout == NO_LAYOUTS:
        raise UsageError("precision, color_format, mean and scale need a layout, as NHWC:NCHW")


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


def _channel_arguments(text: str) -> tuple[tuple[str, str | int], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(name.strip() and separator for name, separator, _ in pairs):
        raise ValueError("should be name=value, separated by commas")
    values = ((name.strip(), value.strip()) for name, _, value in pairs)
    return tuple((name, int(v) if re.fullmatch(r"-?[0-9]{1,9}", v) else v) for name, v in values)


def _header(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("should be what a header can hold")
    return text


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
    if unknown := sorted(set(names) - {*OF_GRAPHS, *(family.name for family in FAMILIES)}):
        raise ValueError(f"there is no metric named {', '.join(unknown)}")
    return names


_READ: dict[str, Callable[[str], Any]] = {
    "model_name": str,
    "model_path": str,
    "model_format": _format,
    "allow_pickle": _switch,
    "predict_proba": _switch,
    "nthread": _integer(1, NTHREAD_MOST),
    "config_path": str,
    "model_version_policy": parse_policy,
    "port": _integer(0, 65_535),
    "rest_port": _integer(0, 65_535),
    "grpc_bind_address": _addresses,
    "rest_bind_address": _addresses,
    "layout": parse_layouts,
    "shape": parse_shapes,
    "batch_size": parse_batch_size,
    "precision": parse_precision,
    "color_format": parse_colours,
    "mean": parse_numbers,
    "scale": parse_numbers,
    "target_device": str,
    "plugin_config": _properties,
    "nireq": _integer(0, NIREQ_MOST),
    "batch_window_us": _integer(0, BATCH_WINDOW_MOST_US),
    "cache_dir": str,
    "cpu_extension": str,
    "grpc_channel_arguments": _channel_arguments,
    "grpc_memory_quota": _integer(1, 2**39),
    "file_system_poll_wait_seconds": _integer(0, 2**31 - 1),
    "rest_workers": _integer(REST_WORKERS.start, REST_WORKERS.stop - 1),
    "metrics_enable": _switch,
    "metrics_list": _families,
    "allow_credentials": _switch,
    "allowed_origins": _header,
    "allowed_methods": _header,
    "allowed_headers": _header,
    "log_path": str,
    "log_level": _level,
    "help": _switch,
    "version": _switch,
}
assert set(_READ) == set(MEANING) == set(Settings.__struct_fields__) - {"without_effect"}
