"""Chat templates in the shape of each family, beside transformers' own rendering of them."""

from datetime import datetime
from pathlib import Path

import pytest

from motorpool.modelserver.llm.api.errors import RequestError
from motorpool.modelserver.llm.api.messages import conversation
from motorpool.modelserver.llm.api.templates import ChatTemplate, TemplateError
from tests.programs import without

HERE = Path(__file__).with_name("templates")
FAMILIES = ("llama2", "llama3", "mistral", "qwen", "granite", "phi", "gemma2", "training")
WORDS = {"bos_token": "<s>", "eos_token": "</s>", "controls": {}}

PLAIN = [{"role": "user", "content": "  Grüße & <tags>  "}]
TURNS = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": " <think>\nhm\n</think>\n\nTwo. "},
    {"role": "user", "content": "Three?\n"},
]
SYSTEM = [{"role": "system", "content": "Be brief.\n"}, *TURNS]
CALLED = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "abcdefghi",
                "type": "function",
                "function": {"name": "weather", "arguments": {"city": "Zürich", "x": [1, None]}},
            }
        ],
    },
    {"role": "tool", "content": "12 °C", "tool_call_id": "abcdefghi"},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "What it's like <outside>",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
DOCUMENTS = [{"text": "first"}, {"text": "second"}]

CHATS = {
    "plain": (PLAIN, {}),
    "turns": (TURNS, {}),
    "system": (SYSTEM, {}),
    "no prompt": (TURNS[:2], {"add_generation_prompt": False}),
    "tools": (TURNS, {"tools": TOOLS}),
    "called": (CALLED, {"tools": TOOLS}),
    "documents": (TURNS, {"documents": DOCUMENTS, "controls": {"citations": True}}),
    "no thinking": (TURNS, {"enable_thinking": False}),
    "continued": (
        TURNS[:2],
        {"add_generation_prompt": False, "continue_final_message": True},
    ),
}


def source(family):
    # As in the JSON of a tokenizer_config, which does not end with a new line.
    return (HERE / f"{family}.jinja").read_text().removesuffix("\n")


def theirs(text, messages, words):
    from transformers.utils.chat_template_utils import render_jinja_template

    given = {"add_generation_prompt": True, **WORDS, **words}
    (rendered,), _ = render_jinja_template([messages], chat_template=text, **given)
    return rendered


def ours(text, messages, words):
    given = {"tools": None, "documents": None, **WORDS, **words}
    names = ("add_generation_prompt", "continue_final_message")
    ends = {name: given.pop(name) for name in names if name in given}
    return ChatTemplate(text).render(messages, given, **ends)


@without("transformers")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chat", CHATS)
def test_a_chat_is_rendered_as_transformers_renders_it(family, chat):
    from jinja2 import TemplateError as Refused

    messages, words = CHATS[chat]
    try:
        expected = theirs(source(family), messages, words)
    except (Refused, ValueError, TypeError):
        with pytest.raises(RequestError):
            ours(source(family), messages, words)
    else:
        assert ours(source(family), messages, words) == expected


def test_what_a_template_refuses_says_why():
    with pytest.raises(RequestError, match=r"^System role not supported$"):
        ours(source("gemma2"), SYSTEM, {})


def test_the_day_is_the_clocks():
    template = ChatTemplate(source("llama3"), now=lambda: datetime(2025, 2, 3))

    assert "Today: 03 Feb 2025" in template.render(PLAIN, {**WORDS, "tools": None})


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 10**5 }}{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content.nothing.more }}",
    ],
)
def test_a_template_is_kept_in_its_sandbox(text):
    with pytest.raises(RequestError):
        ours(text, PLAIN, {}) or pytest.fail("it went on")


@pytest.mark.parametrize("name", ["messages.__class__", "raise_exception.__globals__"])
def test_what_begins_with_an_underscore_is_not_there(name):
    assert ours("{{ " + name + " }}", PLAIN, {}) == ""


def test_words_may_have_any_name():
    words = {"self": 1, "messages": 2, "args": "x"}

    assert ours("{{ args }}{{ messages|length }}", PLAIN, words) == "x1"


def test_what_is_no_template_is_refused_when_it_is_read():
    with pytest.raises(TemplateError, match="no valid Jinja"):
        ChatTemplate("{% if %}")


def test_content_is_text_unless_the_template_reads_its_parts():
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}]

    for family in FAMILIES:
        assert ChatTemplate(source(family)).content_format == "string"
    assert ChatTemplate(source("parts")).content_format == "openai"
    assert conversation(parts, "string") == [{"role": "user", "content": "a\nb"}]
    assert ours(source("parts"), conversation(parts, "openai"), {}) == "user: a|b|"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "x"}, "messages[0].role: a string is required"),
        ({"role": "user", "content": 1}, "messages[0].content: should be a string or a list"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "messages[0].content[0]: this model takes text only",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "messages[0].tool_calls[0].function.arguments: no valid JSON",
        ),
    ],
)
def test_a_wrong_message_is_refused_by_its_place(message, text):
    with pytest.raises(RequestError) as refused:
        conversation([message], "string")

    assert str(refused.value).startswith(text)


def test_arguments_of_earlier_calls_become_objects():
    calls = [{"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}}]

    (read,) = conversation([{"role": "assistant", "tool_calls": calls}], "string")

    assert read["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert read["content"] == ""
    assert isinstance(calls[0]["function"]["arguments"], str)
