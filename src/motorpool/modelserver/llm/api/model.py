"""The model that is served: its tokenizer, its template, its limits, and how requests name it.

What chat, text completions, embeddings and tokenize have in common.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from motorpool.modelserver.llm.api import templates
from motorpool.modelserver.llm.api.answer import Reading
from motorpool.modelserver.llm.api.errors import NotSupported, RequestError, UnknownModel
from motorpool.modelserver.llm.api.messages import conversation
from motorpool.modelserver.llm.api.sampling import Defaults
from motorpool.modelserver.llm.api.templates import ChatTemplate, ContentFormat
from motorpool.modelserver.llm.api.tokenizer import Tokenizer
from motorpool.modelserver.llm.contract import ModelInfo, Task
from motorpool.modelserver.llm.flags import Settings

NO_REQUEST_TEMPLATE = (
    "Chat template is passed with request, but --trust-request-chat-template is not set. "
    "Refused request with untrusted chat template."
)


@dataclass(slots=True)
class Model:
    settings: Settings
    tokenizer: Tokenizer
    info: ModelInfo
    defaults: Defaults
    created: int
    chat_template: ChatTemplate | None = None
    tool_template: ChatTemplate | None = None
    _ends: frozenset[int] = field(default=frozenset())

    def __post_init__(self) -> None:
        self._ends = frozenset(self.info.eos_token_ids)

    @property
    def name(self) -> str:
        return self.settings.names[0]

    @property
    def max_model_len(self) -> int:
        return self.info.max_model_len

    def check_name(self, name: str | None) -> None:
        """Raises UnknownModel."""
        if name and name not in self.settings.names:
            raise UnknownModel(name)

    def check_task(self, api: str, *tasks: Task) -> None:
        """Raises RequestError where this model has none of *tasks*."""
        if self.info.task not in tasks:
            raise RequestError(f"The model does not support {api} API")

    def seed(self) -> int:
        """For a request that names none."""
        return secrets.randbits(62)

    def reading(
        self, stops: Sequence[str], *, include_stop: bool, skip_special_tokens: bool
    ) -> Reading:
        decode = self.tokenizer.decoder(skip_special_tokens=skip_special_tokens)
        return Reading(decode, self._ends, tuple(stops), include_stop)

    def check_tokens(self, ids: Sequence[int]) -> None:
        """Raises RequestError for what is no token of this model."""
        wrong = next((each for each in ids if not 0 <= each < self.info.vocab_size), None)
        if wrong is not None:
            raise RequestError(f"Token id {wrong} is out of vocabulary")

    def template(self, source: str | None, *, with_tools: bool) -> ChatTemplate:
        """Raises RequestError."""
        if source is not None:
            return self._of_request(source)
        found = (self.tool_template if with_tools else None) or self.chat_template
        if found is None:
            raise RequestError(templates.NO_TEMPLATE)
        return found

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        source: str | None = None,
        words: Mapping[str, Any] | None = None,
        **ends: bool,
    ) -> tuple[str, list[dict[str, Any]]]:
        """The text of a chat, and the messages as the template read them. Raises RequestError."""
        template = self.template(source, with_tools=bool(tools))
        wanted = self.settings.chat_template_content_format
        content_format = template.content_format if wanted == "auto" else wanted
        chat = conversation(messages, cast(ContentFormat, content_format))
        given = {
            **self.tokenizer.special_tokens,
            "tools": list(tools) if tools else None,
            "documents": None,
            **self.settings.default_chat_template_kwargs,
            **{key: value for key, value in (words or {}).items() if key not in _OURS},
        }
        return template.render(chat, given, **ends), chat

    def _of_request(self, source: str) -> ChatTemplate:
        if not self.settings.trust_request_chat_template:
            raise NotSupported(NO_REQUEST_TEMPLATE, "chat_template")
        try:
            return ChatTemplate(source)
        except templates.TemplateError as error:
            raise RequestError(str(error), "chat_template") from None


_OURS = frozenset({"messages", "tools", "add_generation_prompt", "continue_final_message"})


def truncated(ids: list[int], most: int | None, max_model_len: int) -> list[int]:
    """The last *most* of the tokens. Raises RequestError."""
    if most is None:
        return ids
    if most < -1:
        raise RequestError(
            f"truncate_prompt_tokens must be greater than or equal to -1, got {most}."
        )
    if most > max_model_len:
        raise RequestError(
            f"truncate_prompt_tokens value ({most}) is greater than max_model_len "
            f"({max_model_len}). Please, select a smaller truncation size."
        )
    length = max_model_len if most == -1 else most
    return ids[len(ids) - length :] if len(ids) > length else ids


def max_tokens(wanted: int | None, prompt_tokens: int, max_model_len: int, most: int | None) -> int:
    """How many tokens an answer may have. Raises RequestError in vLLM's words."""
    if prompt_tokens == 0:
        raise RequestError("The decoder prompt cannot be empty")
    if wanted is None:
        if prompt_tokens >= max_model_len:
            raise RequestError(
                f"This model's maximum context length is {max_model_len} tokens. However, you "
                f"requested {prompt_tokens} tokens in the messages, "
                "Please reduce the length of the messages.",
                "input_tokens",
            )
        wanted = max_model_len - prompt_tokens
    elif prompt_tokens + wanted > max_model_len:
        raise RequestError(
            f"This model's maximum context length is {max_model_len} tokens. However, you "
            f"requested {prompt_tokens + wanted} tokens ({prompt_tokens} in the messages, "
            f"{wanted} in the completion). Please reduce the length of the messages or completion.",
            "input_tokens",
        )
    return wanted if most is None else min(wanted, most)
