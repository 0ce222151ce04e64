"""Chat templates: messages -> the text that a model was trained to see. Pure, but for the clock.

A template is a program of whoever made the checkpoint. It runs in jinja2's sandbox: no attribute
that begins with an underscore, no change of what it was given. The environment has what
transformers gives templates, with the same rules for whitespace, so that the text is the same.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

from motorpool.modelserver.llm.api.errors import RequestError

ContentFormat = Literal["string", "openai"]
"""What the template takes for a message's content: text, or the list of its parts."""

NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a "
    "chat template if the tokenizer does not define one."
)
BOTH_ENDS = "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
RENDERED_CHARS_MAX = 64 * 2**20


class TemplateError(ValueError):
    """The template itself cannot be used."""


class ChatTemplate:
    def __init__(self, source: str, *, now: Callable[[], datetime] = datetime.now) -> None:
        """Raises TemplateError."""
        environment = _environment(now)
        try:
            parsed = environment.parse(source)
            self._template = environment.from_string(parsed)
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template is no valid Jinja: {error}") from error
        self.content_format: ContentFormat = "openai" if _reads_parts(parsed) else "string"

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        words: Mapping[str, Any],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> str:
        """Raises RequestError where the template refuses the messages, or fails with them.

        *words* are what else the template may read, by name.
        """
        if add_generation_prompt and continue_final_message:
            raise RequestError(BOTH_ENDS)
        try:
            ours = {"messages": messages, "add_generation_prompt": add_generation_prompt}
            text = _bounded(self._template.generate({**words, **ours}))
        except RequestError:
            raise
        except Exception as error:  # A template fails in any way that a program can.
            raise RequestError(f"the chat template refused the messages: {error}") from error
        return _continued(text, messages) if continue_final_message else text


def chosen(templates: Mapping[str, str], *, with_tools: bool) -> str | None:
    """The source of the one that fits, of a checkpoint with several."""
    if with_tools and "tool_use" in templates:
        return templates["tool_use"]
    return templates.get("default")


def _bounded(parts: Iterator[str]) -> str:
    whole: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > RENDERED_CHARS_MAX:
            raise RequestError("the chat template makes too long a text of the messages")
        whole.append(part)
    return "".join(whole)


def _continued(text: str, messages: Sequence[Mapping[str, Any]]) -> str:
    """*text* up to the end of the last message, so that the model goes on with it."""
    content = messages[-1].get("content") if messages else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and "text" in part]
        content = texts[-1] if texts else None
    stripped = content.strip() if isinstance(content, str) else ""
    at = text.rfind(stripped)
    if not stripped or at < 0:
        raise RequestError(
            "continue_final_message is set, but the final message does not appear in the chat "
            "after the chat template was applied"
        )
    assert isinstance(content, str)
    # Most templates trim a message; those that do not keep the space that it ends with.
    kept = content.lstrip()
    return text[: at + (len(kept) if text.startswith(kept, at) else len(stripped))]


def _environment(now: Callable[[], datetime]) -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: now().strftime(form)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own escapes what HTML gives a meaning to, which no model has ever seen."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: str) -> None:
    raise RequestError(str(message))


class _Generation(jinja2.ext.Extension):
    """``{% generation %}``, which marks what a training run learns from, and says nothing here."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _reads_parts(template: nodes.Template) -> bool:
    """Whether some loop runs over a message's content."""
    named = {
        each.target.name
        for each in template.find_all(nodes.Assign)
        if isinstance(each.target, nodes.Name) and _is_content(each.node)
    }
    loops = (each.iter for each in template.find_all(nodes.For))
    return any(
        _is_content(each) or (isinstance(each, nodes.Name) and each.name in named)
        for each in map(_unfiltered, loops)
    )


def _unfiltered(node: nodes.Node) -> nodes.Node:
    while isinstance(node, nodes.Filter) and node.node is not None:
        node = node.node
    return node


def _is_content(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return node.attr == "content"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return bool(node.arg.value == "content")
    return False
