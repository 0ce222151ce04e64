"""One answer's sampling in the engine's own terms.

What the engine does that a reader would not expect, and what this file does about it:
  1. `ignore_eos` makes it pass over every stop token, the request's own too. So it is used only
     where there are none; else the ends of text are left out of what stops.
  2. Where `eos_token_id` is not set it takes the checkpoint's. So one is always set.
  3. It calls `min_p` of 1 an error; a hair below it keeps the same one token.
  4. Of a seed it uses 32 bits.
"""

import math
from typing import Any

from motorpool.modelserver.llm.contract import Sampling

GREEDY_BELOW = 1e-5  # a temperature, as in vLLM
MIN_P_MAX = 1 - 1e-6


class Unusable(Exception):
    """The request asks for what the engine cannot do; the message says what."""


def stop_tokens(sampling: Sampling, eos: tuple[int, ...]) -> frozenset[int]:
    """What ends this answer. A structured one ends with an end of text, whatever is asked for."""
    own = frozenset(sampling.stop_token_ids)
    return own if sampling.ignore_eos and sampling.structure is None else own | frozenset(eos)


def generation_config(sampling: Sampling, eos: tuple[int, ...], max_tokens: int) -> Any:
    """The engine's GenerationConfig for *max_tokens* more tokens. Raises Unusable."""
    import openvino_genai

    _check(sampling)
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = max_tokens
    # Only an end of text may follow a complete structure: forbidding it would leave nothing.
    config.min_new_tokens = 0 if sampling.structure else min(sampling.min_tokens, max_tokens)
    stops = stop_tokens(sampling, eos)
    config.stop_token_ids = set(stops)
    if stops:
        config.eos_token_id = min(stops & set(eos) or stops)
    else:
        config.ignore_eos = True
    config.repetition_penalty = sampling.repetition_penalty
    config.presence_penalty = sampling.presence_penalty
    config.frequency_penalty = sampling.frequency_penalty
    config.logprobs = int(sampling.logprobs)
    if sampling.temperature >= GREEDY_BELOW:
        _sample(config, sampling)
    return config


def _sample(config: Any, sampling: Sampling) -> None:
    config.do_sample = True
    config.temperature = sampling.temperature
    config.top_p = sampling.top_p
    if sampling.top_k > 0:
        config.top_k = sampling.top_k
    config.min_p = min(sampling.min_p, MIN_P_MAX)
    config.rng_seed = (sampling.seed ^ sampling.seed >> 32) & 0xFFFF_FFFF


def _check(sampling: Sampling) -> None:
    numbers = (
        sampling.temperature, sampling.top_p, sampling.min_p, sampling.repetition_penalty,
        sampling.presence_penalty, sampling.frequency_penalty,
    )  # fmt: skip
    if not all(map(math.isfinite, numbers)):
        raise Unusable("a sampling parameter is not a finite number")
    if sampling.temperature < 0:
        raise Unusable(f"temperature must be non-negative, got {sampling.temperature}")
    if any(token < 0 for token in sampling.stop_token_ids):
        raise Unusable("stop_token_ids must not be negative")
