"""The command line, with vLLM's names and meanings.

Words in, `Settings` out, or `UsageError`. As vLLM reads them: dashes and underscores are the same,
a switch has a `--no-`, a JSON object may come field by field
(``--override-generation-config.top_k 5``), a file named by --config comes before the words, and of
a flag given twice the last one counts (KServe puts the user's arguments after the runtime's).
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

from motorpool.modelserver.llm import flagtable, without_effect
from motorpool.modelserver.llm.api.errors import Generation
from motorpool.modelserver.llm.api.reasoning import PARSERS as REASONING_PARSERS
from motorpool.modelserver.llm.api.tools.registry import PARSERS as TOOL_PARSERS
from motorpool.modelserver.llm.contract import PoolingWay, Precision, Quantization
from motorpool.modelserver.llm.flagtable import KvPrecision

PROGRAM = "motorpool-llm"
OWN_QUANTIZATIONS = ("int8", "int4")


class UsageError(Exception):
    pass


class Help(Exception):
    """Not an error: the text that was asked for."""


@dataclass(frozen=True, slots=True)
class Tls:
    key_file: str = ""
    certificate_file: str = ""


@dataclass(frozen=True, slots=True)
class Cors:
    """What browsers are told of who may read the answers."""

    origins: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ("*",)
    headers: tuple[str, ...] = ("*",)
    credentials: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    model: str = ""
    served_model_names: tuple[str, ...] = ()
    known_path: str = ""  # where clients believe the model to be, if it is somewhere else
    tokenizer: str = ""
    host: str = ""
    port: int = flagtable.DEFAULT_PORT
    root_path: str = ""
    api_keys: tuple[str, ...] = ()
    tls: Tls = Tls()
    cors: Cors = Cors()
    log_level: str = "INFO"
    generation: Generation = "0.10"
    shutdown_timeout_s: float = 25.0
    # of the answers
    chat_template: str = ""
    chat_template_content_format: str = "auto"
    default_chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    trust_request_chat_template: bool = False
    response_role: str = "assistant"
    enable_auto_tool_choice: bool = False
    tool_call_parser: str = ""
    reasoning_parser: str = ""
    exclude_tools_when_tool_choice_none: bool = False
    return_tokens_as_token_ids: bool = False
    enable_force_include_usage: bool = False
    enable_request_id_headers: bool = False
    disable_log_stats: bool = False
    generation_config: str = "auto"
    override_generation_config: Mapping[str, Any] = field(default_factory=dict)
    # of the engine
    precision: Precision = "auto"
    quantization: Quantization = "none"
    hf_overrides: Mapping[str, Any] = field(default_factory=dict)
    embeds: bool = False
    pooling: PoolingWay | None = None
    normalize: bool | None = None
    max_model_len: int | None = None
    max_num_seqs: int = 256
    max_num_batched_tokens: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_precision: KvPrecision = "auto"
    prefix_caching: bool = True
    threads: int | None = None
    seed: int | None = None
    without_effect: tuple[str, ...] = ()  # flags that were given and change nothing here

    @property
    def names(self) -> tuple[str, ...]:
        return self.served_model_names or (self.root,)

    @property
    def root(self) -> str:
        return self.known_path or self.model


def parse(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    read: Callable[[str], str] = lambda path: Path(path).read_text(),
) -> Settings:
    """What *argv*, without the program's name, asks for. Raises UsageError, Help."""
    words = _normalised(argv)
    parser = _parser()
    words = _with_config(words, read)
    if "-h" in words or "--help" in words:
        raise Help(parser.format_help())
    found, unread = parser.parse_known_args(_joined(words))
    given = vars(found)
    # Not argparse's own positional argument: it would take a word of the lists before it.
    if unread and not unread[0].startswith("-"):
        given["positional_model"] = unread.pop(0)
    if unread:
        raise UsageError(f"unrecognized arguments: {' '.join(unread)}")
    return _settings(given, environment or {})


def _normalised(argv: Sequence[str]) -> list[str]:
    words = list(argv)
    if words[:1] == ["serve"]:
        del words[0]
    return [_dashed(word) for word in words]


def _dashed(word: str) -> str:
    if not word.startswith("--"):
        return re.sub(r"^-O(?=\d)", "--optimization-level=", word)
    name, separator, value = word.partition("=")
    head, dot, rest = name.partition(".")
    return head.replace("_", "-") + dot + rest + separator + value


def _with_config(words: list[str], read: Callable[[str], str]) -> list[str]:
    """The words of the file that --config names, before the others."""
    for place, word in enumerate(words):
        name, separator, path = word.partition("=")
        if name != "--config":
            continue
        length = 1 if separator else 2
        if not separator:
            path = words[place + 1] if place + 1 < len(words) else ""
        rest = words[:place] + words[place + length :]
        # A model named without a flag stays where it was: before everything.
        leading = 1 if rest and not rest[0].startswith("-") else 0
        return [*rest[:leading], *_config_words(path, read), *rest[leading:]]
    return words


def _config_words(path: str, read: Callable[[str], str]) -> list[str]:
    import yaml

    try:
        document = yaml.safe_load(read(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--config {path}: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"--config {path}: should be a YAML mapping of flags")
    words: list[str] = []
    for name, value in document.items():
        flag = f"--{str(name).replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        else:
            words += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def _joined(words: Sequence[str]) -> list[str]:
    """With the fields of each JSON object as one object."""
    joined: list[str] = []
    objects: dict[str, dict[str, Any]] = {}
    rest = iter(words)
    for word in rest:
        name, separator, text = word.partition("=")
        if not (name.startswith("--") and "." in name):
            joined.append(word)
            continue
        if not separator:
            text = next(rest, "")
        flag, *path = name.split(".")
        at = objects.setdefault(flag, {})
        for key in path[:-1]:
            at = at.setdefault(key, {})
            if not isinstance(at, dict):
                raise UsageError(f"argument {flag}: {name} stands below a value")
        at[path[-1]] = _json_or_text(text)
    return [*joined, *(f"{flag}={json.dumps(value)}" for flag, value in objects.items())]


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [MODEL] [flags]; --help lists them",
        description="Serves a language model with vLLM's interface on a CPU.",
        allow_abbrev=False,
        add_help=False,
        argument_default=argparse.SUPPRESS,
    )
    for name, reader, meaning in flagtable.VALUES:
        parser.add_argument(f"--{name}", type=reader, help=meaning)
    for name, meaning in flagtable.SWITCHES:
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=meaning)
    for name, meaning in flagtable.LISTS:
        parser.add_argument(f"--{name}", nargs="*", help=meaning)
    quiet = argparse.SUPPRESS
    for name in without_effect.VALUES:
        short = [without_effect.SHORT[name]] if name in without_effect.SHORT else []
        words = "*" if name in without_effect.SEVERAL else None
        parser.add_argument(f"--{name}", *short, nargs=words, help=quiet)
    for name in without_effect.SWITCHES:
        short = [without_effect.SHORT[name]] if name in without_effect.SHORT else []
        parser.add_argument(f"--{name}", *short, action=argparse.BooleanOptionalAction, help=quiet)
    return parser


def _settings(given: dict[str, Any], environment: Mapping[str, str]) -> Settings:
    """Raises UsageError."""
    model = given.get("positional_model") or given.get("model") or ""
    if not model:
        raise UsageError("the following arguments are required: --model")
    _check(given)
    quantization = given.get("quantization", "")
    ignored = _ignored(given)
    if quantization and quantization not in OWN_QUANTIZATIONS:
        ignored = (*ignored, "quantization")  # the checkpoint says how it is quantised
    return Settings(
        model=model,
        served_model_names=tuple(given.get("served_model_name") or ()),
        known_path=environment.get("MOTORPOOL_MODEL_PATH", ""),
        api_keys=tuple(given.get("api_key") or filter(None, [environment.get("VLLM_API_KEY")])),
        tls=Tls(given.get("ssl_keyfile", ""), given.get("ssl_certfile", "")),
        cors=Cors(
            given.get("allowed_origins", ("*",)),
            given.get("allowed_methods", ("*",)),
            given.get("allowed_headers", ("*",)),
            given.get("allow_credentials", False),
        ),
        log_level=_level(given, environment),
        generation=_generation(given, environment),
        shutdown_timeout_s=given.get("shutdown_timeout", 25.0),
        precision=flagtable.DTYPES[given.get("dtype", "auto")],
        quantization=cast(
            Quantization, quantization if quantization in OWN_QUANTIZATIONS else "none"
        ),
        hf_overrides={**_rope(given), **given.get("hf_overrides", {})},
        **_pooling(given),
        kv_cache_bytes=given.get("kv_cache_memory_bytes") or _kv_space(environment),
        kv_cache_precision=given.get("kv_cache_dtype", "auto"),
        prefix_caching=given.get("enable_prefix_caching", True),
        without_effect=ignored,
        **{name: given[name] for name in _AS_THEY_ARE if name in given},
    )


_AS_THEY_ARE = (
    "tokenizer", "host", "port", "root_path", "chat_template", "chat_template_content_format",
    "default_chat_template_kwargs", "trust_request_chat_template", "response_role",
    "enable_auto_tool_choice", "tool_call_parser", "reasoning_parser",
    "exclude_tools_when_tool_choice_none", "return_tokens_as_token_ids",
    "enable_force_include_usage", "enable_request_id_headers",
    "disable_log_stats", "generation_config", "override_generation_config", "max_model_len",
    "max_num_seqs", "max_num_batched_tokens", "threads", "seed",
)  # fmt: skip


def _rope(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("rope_scaling", "rope_theta") if name in given}


_EMBEDS = (("task", ("embed", "embedding")), ("runner", ("pooling",)), ("convert", ("embed",)))


def _pooling(given: Mapping[str, Any]) -> dict[str, Any]:
    """Raises UsageError."""
    config = {**given.get("override_pooler_config", {}), **given.get("pooler_config", {})}
    kind, normalize = config.get("pooling_type"), config.get("normalize")
    if kind is not None and kind not in flagtable.POOLING_TYPES:
        known = ", ".join(flagtable.POOLING_TYPES)
        raise UsageError(f"--pooler-config: pooling_type {kind!r} is not served, {known} are")
    if normalize is not None and not isinstance(normalize, bool):
        raise UsageError("--pooler-config: normalize should be true or false")
    return {
        "embeds": any(given.get(name) in values for name, values in _EMBEDS),
        "pooling": flagtable.POOLING_TYPES[kind] if kind else None,
        "normalize": normalize,
    }


def _check(given: Mapping[str, Any]) -> None:
    if given.get("enable_auto_tool_choice") and not given.get("tool_call_parser"):
        raise UsageError("Error: --enable-auto-tool-choice requires --tool-call-parser")
    for name, known, what in (
        ("tool_call_parser", TOOL_PARSERS, "tool call parser"),
        ("reasoning_parser", REASONING_PARSERS, "reasoning parser"),
    ):
        if given.get(name) and given[name] not in known:
            chosen = ",".join(known)
            raise UsageError(f"invalid {what}: {given[name]} (chose from {{ {chosen} }})")
    if given.get("lora_modules"):
        raise UsageError("--lora-modules: adapters are not served by this engine")
    if given.get("uds"):
        raise UsageError("--uds: this server listens on --host and --port only")
    if bool(given.get("ssl_keyfile")) != bool(given.get("ssl_certfile")):
        raise UsageError("--ssl-keyfile and --ssl-certfile come together")


def _ignored(given: Mapping[str, Any]) -> tuple[str, ...]:
    names = {*without_effect.VALUES, *without_effect.SWITCHES} - without_effect.QUIET
    return tuple(sorted(name for name in names if name.replace("-", "_") in given))


def _level(given: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    level = (given.get("uvicorn_log_level") or environment.get("VLLM_LOGGING_LEVEL", "")).upper()
    level = {"CRITICAL": "ERROR", "WARN": "WARNING"}.get(level, level)
    return level if level in ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR") else "INFO"


def _generation(given: Mapping[str, Any], environment: Mapping[str, str]) -> Generation:
    wanted = given.get("vllm_generation") or environment.get("MOTORPOOL_VLLM_GENERATION") or "0.10"
    if wanted not in ("0.10", "0.32"):
        raise UsageError(f"MOTORPOOL_VLLM_GENERATION: should be 0.10 or 0.32, got {wanted!r}")
    return cast(Generation, wanted)


def _kv_space(environment: Mapping[str, str]) -> int | None:
    """GiB; 0 leaves it to the engine."""
    text = environment.get("VLLM_CPU_KVCACHE_SPACE", "")
    return int(text) * 2**30 or None if re.fullmatch(r"[0-9]{1,5}", text) else None
