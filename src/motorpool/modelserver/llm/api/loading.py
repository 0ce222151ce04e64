"""Everything of a model that this process needs, read from its files while the engine loads."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from motorpool.modelserver.llm.api import templates
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.sampling import Defaults, defaults
from motorpool.modelserver.llm.api.templates import ChatTemplate, TemplateError
from motorpool.modelserver.llm.api.tokenizer import Tokenizer, read_json
from motorpool.modelserver.llm.contract import CheckpointError, ModelInfo
from motorpool.modelserver.llm.flags import Settings

JINJA = ("{%", "{{", "{#", "\n")


class Texts:
    """What is known before the engine says how large its model is."""

    def __init__(self, settings: Settings) -> None:
        """Raises CheckpointError."""
        self.settings = settings
        path = Path(settings.tokenizer or settings.model)
        if not path.exists():
            raise CheckpointError(f"there is no {path}")
        self.tokenizer = Tokenizer(path)
        self.defaults = _defaults(settings)
        self.chat_template, self.tool_template = _templates(settings, self.tokenizer)

    def model(self, info: ModelInfo) -> Model:
        if info.task != "generate":
            # A vector needs no words of its own.
            found = replace(self.defaults, max_new_tokens=None)
        else:
            found = self.defaults
        return Model(
            self.settings,
            self.tokenizer,
            info,
            found,
            int(time.time()),
            self.chat_template,
            self.tool_template,
        )


def _defaults(settings: Settings) -> Defaults:
    config: dict[str, Any] = {}
    if settings.generation_config != "vllm":
        place = settings.generation_config
        directory = Path(settings.model if place == "auto" else place)
        config = read_json(directory / "generation_config.json") if directory.is_dir() else {}
    return defaults({**config, **settings.override_generation_config})


def _templates(
    settings: Settings, tokenizer: Tokenizer
) -> tuple[ChatTemplate | None, ChatTemplate | None]:
    """The usual one, and the one for requests with tools. Raises CheckpointError."""
    if settings.chat_template:
        given = _given(settings.chat_template, tokenizer)
        return _compiled(given), None
    usual = templates.chosen(tokenizer.templates, with_tools=False)
    for_tools = tokenizer.templates.get("tool_use")
    return (
        _compiled(usual) if usual is not None else None,
        _compiled(for_tools) if for_tools is not None else None,
    )


def _given(template: str, tokenizer: Tokenizer) -> str:
    """A file, a name of one of the checkpoint's, or the template itself. Raises CheckpointError."""
    if template in tokenizer.templates:
        return tokenizer.templates[template]
    try:
        return Path(template).read_text()
    except (OSError, ValueError) as error:
        if any(mark in template for mark in JINJA):
            return template
        raise CheckpointError(
            f"The supplied chat template ({template}) looks like a file path, "
            f"but it failed to be opened. Reason: {error}"
        ) from error


def _compiled(source: str) -> ChatTemplate:
    try:
        return ChatTemplate(source)
    except TemplateError as error:
        raise CheckpointError(str(error)) from error
