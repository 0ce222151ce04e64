"""Request + the checkpoint's defaults -> what the engine is asked for. Pure.

The texts are vLLM's. What this engine cannot do is refused by name: an answer that silently did
without would look like the model's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from motorpool.modelserver.llm.api.errors import NotSupported, RequestError
from motorpool.modelserver.llm.api.requests import SampledRequest
from motorpool.modelserver.llm.contract import Sampling, Structure

N_MAX = 256  # one answer for each sequence that an engine runs at a time
STOPS_MAX = 64
SEED_BITS = 63
TOP_K_MAX = 2**31 - 1
TEMPERATURE_MIN = 0.01  # as vLLM's
TEMPERATURE_MAX = 1e4


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a request says nothing: the checkpoint's generation_config.json."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int | None = None


def defaults(config: Mapping[str, Any]) -> Defaults:
    """Of generation_config.json; passes over what is no number."""
    read: dict[str, Any] = {}
    for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
        if isinstance(config.get(name), int | float):
            read[name] = float(config[name])
    for name in ("top_k", "max_new_tokens"):
        if isinstance(config.get(name), int):
            read[name] = config[name]
    return Defaults(**read)


def sampling(
    request: SampledRequest,
    given: Defaults,
    *,
    max_tokens: int,
    seed: int,
    logprobs: bool = False,
    structure: Structure | None = None,
) -> Sampling:
    """Of the first answer; see `answers` for the others. Raises RequestError."""
    _refuse(request)
    made = Sampling(
        max_tokens=max_tokens,
        min_tokens=request.min_tokens or 0,
        temperature=_or(request.temperature, given.temperature),
        top_p=_or(request.top_p, given.top_p),
        top_k=_or(request.top_k, given.top_k),
        min_p=_or(request.min_p, given.min_p),
        seed=seed if request.seed is None else request.seed,
        repetition_penalty=_or(request.repetition_penalty, given.repetition_penalty),
        presence_penalty=_or(request.presence_penalty, 0.0),
        frequency_penalty=_or(request.frequency_penalty, 0.0),
        stop_token_ids=tuple(request.stop_token_ids or ()),
        ignore_eos=request.ignore_eos,
        logprobs=logprobs,
        structure=structure,
    )
    _check(made, request)
    return replace(
        made,
        top_k=min(max(made.top_k, 0), TOP_K_MAX),
        temperature=_bounded(made.temperature),
        seed=made.seed & (2**SEED_BITS - 1),
    )


def answers(first: Sampling, n: int) -> list[Sampling]:
    """One for each of *n* answers; a seed of its own each, or all would be the same."""
    return [replace(first, seed=(first.seed + i) & (2**SEED_BITS - 1)) for i in range(n)]


def count(request: SampledRequest) -> int:
    return 1 if request.n is None else request.n


def stops(request: SampledRequest) -> tuple[str, ...]:
    """Raises RequestError."""
    given = request.stop or []
    strings = (given,) if isinstance(given, str) else tuple(given)
    if any(not string for string in strings):
        raise RequestError("stop cannot contain an empty string.")
    if len(strings) > STOPS_MAX:
        raise RequestError(f"at most {STOPS_MAX} stop strings are taken, got {len(strings)}")
    return strings


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _bounded(temperature: float) -> float:
    """Beyond these bounds a logit divided by it is no number any more."""
    return min(max(temperature, TEMPERATURE_MIN), TEMPERATURE_MAX) if temperature else 0.0


def _is_greedy(made: Sampling) -> bool:
    return made.temperature == 0


_UNSUPPORTED: tuple[tuple[str, str], ...] = (
    ("logit_bias", "logit_bias is not supported by this engine"),
    ("use_beam_search", "beam search is not supported by this engine"),
    ("prompt_logprobs", "prompt_logprobs are not given by this engine"),
    ("allowed_token_ids", "allowed_token_ids is not supported by this engine"),
    ("bad_words", "bad_words is not supported by this engine"),
    ("prompt_embeds", "prompt_embeds is not supported by this engine"),
)


def _refuse(request: SampledRequest) -> None:
    for name, text in _UNSUPPORTED:
        value = getattr(request, name, None)
        if value or (value == 0 and value is not False and name == "prompt_logprobs"):
            raise NotSupported(text, name)
    if (request.best_of or 1) != 1 and request.best_of != count(request):
        raise NotSupported("best_of is not supported by this engine", "best_of")
    if request.priority:
        raise NotSupported(
            f"Got priority {request.priority} but Priority scheduling is not enabled.", "priority"
        )


Test = Callable[[Any], bool]
# In vLLM's order. NaN fails every one of them.
_RANGES: Sequence[tuple[str, Test, str]] = (
    ("presence_penalty", lambda v: -2 <= v <= 2, "must be in [-2, 2]"),
    ("frequency_penalty", lambda v: -2 <= v <= 2, "must be in [-2, 2]"),
    ("repetition_penalty", lambda v: 0 < v < float("inf"), "must be greater than zero"),
    ("temperature", lambda v: 0 <= v < float("inf"), "must be non-negative"),
    ("top_p", lambda v: 0 < v <= 1, "must be in (0, 1]"),
    ("top_k", lambda v: v >= -1, "must be 0 (disable), or at least 1"),
    ("min_p", lambda v: 0 <= v <= 1, "must be in [0, 1]"),
    ("max_tokens", lambda v: v >= 1, "must be at least 1"),
    ("min_tokens", lambda v: v >= 0, "must be greater than or equal to 0"),
)


def _check(made: Sampling, request: SampledRequest) -> None:
    n = count(request)
    if not 1 <= n <= N_MAX:
        bound = "at least 1" if n < 1 else f"at most {N_MAX}"
        raise RequestError(f"n must be {bound}, got {n}.", "n")
    for name, holds, text in _RANGES:
        value = getattr(made, name)
        if not holds(value):
            # The value as the client wrote it.
            raise RequestError(
                f"{name} {text}, got {_or(getattr(request, name, None), value)}.", name
            )
    if made.min_tokens > made.max_tokens:
        raise RequestError(
            "min_tokens must be less than or equal to "
            f"max_tokens={made.max_tokens}, got {made.min_tokens}.",
            "min_tokens",
        )
    if _is_greedy(made) and n > 1:
        raise RequestError(f"n must be 1 when using greedy sampling, got {n}.", "n")
    if any(not 0 <= token < 2**31 for token in made.stop_token_ids):
        raise RequestError("stop_token_ids must be token ids", "stop_token_ids")
