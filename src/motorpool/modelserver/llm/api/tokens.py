"""The tokenizer over HTTP."""

from typing import Any

from motorpool.modelserver.llm.api.errors import RequestError
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.requests import DetokenizeRequest, TokenizeRequest


def tokenize(request: TokenizeRequest, model: Model) -> dict[str, Any]:
    """Raises RequestError."""
    if request.messages is not None:
        text, _ = model.chat_prompt(
            request.messages,
            tools=request.tools,
            source=request.chat_template,
            words=request.chat_template_kwargs,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
        )
        add_special = bool(request.add_special_tokens)
    elif request.prompt is not None:
        text, add_special = request.prompt, request.add_special_tokens is not False
    else:
        raise RequestError("prompt: a string, or messages, are required", "prompt")
    ids = model.tokenizer.encode(text, add_special_tokens=add_special)
    strings = [model.tokenizer.token(each) for each in ids] if request.return_token_strs else None
    return {
        "count": len(ids),
        "max_model_len": model.max_model_len,
        "tokens": ids,
        "token_strs": strings,
    }


def detokenize(request: DetokenizeRequest, model: Model) -> dict[str, Any]:
    """Raises RequestError."""
    model.check_tokens(request.tokens)
    return {"prompt": model.tokenizer.decode(request.tokens)}
