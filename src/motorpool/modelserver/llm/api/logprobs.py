"""The probabilities of the tokens that were chosen, in the two shapes of chat and of text. Pure.

The engine gives those of no other token. Where it chooses the likeliest, that one is also the
first of the likeliest ones; otherwise nobody knows the others, and who asks for them is refused.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from motorpool.modelserver.llm.api.errors import NotSupported, RequestError
from motorpool.modelserver.llm.api.tokenizer import Tokenizer
from motorpool.modelserver.llm.contract import Sampling

# Where JSON has no -inf; vLLM writes the same.
LOWEST = -9999.0
TOP_MAX = 20


def check(top: int, sampling: Sampling, name: str) -> None:
    """Raises RequestError where *top* likeliest tokens cannot be told."""
    if top < 0:
        raise RequestError(f"`{name}` must be a positive value.", name)
    if top > TOP_MAX:
        raise RequestError(
            f"Requested sample logprobs of {top}, which is greater than max allowed: {TOP_MAX}",
            name,
        )
    is_likeliest = (
        sampling.temperature == 0
        and sampling.repetition_penalty == 1
        and sampling.presence_penalty == sampling.frequency_penalty == 0
    )
    if top > 1 or (top == 1 and not is_likeliest):
        raise NotSupported(
            f"{name}={top}: this engine gives the probability of the chosen token only; "
            f"ask for {name}=0, or for 1 with temperature 0 and no penalties",
            name,
        )


class Tokens:
    def __init__(self, tokenizer: Tokenizer, *, as_ids: bool, top: int) -> None:
        self._tokenizer = tokenizer
        self._as_ids = as_ids
        self._top = top

    def chat(self, ids: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
        return {"content": [self._entry(*each) for each in zip(ids, values, strict=False)]}

    def text(self, ids: Sequence[int], values: Sequence[float], offset: int) -> dict[str, Any]:
        tokens = [self._text(each) for each in ids]
        lengths = [len(self._tokenizer.token_text(each)) for each in ids]
        numbers = [max(value, LOWEST) for value in values]
        return {
            "text_offset": list(accumulate(lengths, initial=offset))[:-1],
            "token_logprobs": numbers,
            "tokens": tokens,
            "top_logprobs": [{token: value} for token, value in zip(tokens, numbers, strict=False)],
        }

    def _text(self, token: int) -> str:
        return f"token_id:{token}" if self._as_ids else self._tokenizer.token_text(token)

    def _entry(self, token: int, value: float) -> dict[str, Any]:
        text = self._text(token)
        entry = {"token": text, "logprob": max(value, LOWEST), "bytes": list(text.encode())}
        return entry | {"top_logprobs": [dict(entry)] if self._top else []}
