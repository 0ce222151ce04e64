"""Tool calls in the words of each family, whole and in every piece."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from motorpool.modelserver.llm.api.tools import forced
from motorpool.modelserver.llm.api.tools.deltas import (
    Call,
    CallArguments,
    CallStart,
    Content,
    Parsed,
    parsed,
)
from motorpool.modelserver.llm.api.tools.registry import PARSERS

WEATHER = '{"city": "São Paulo", "days": 2, "deep": {"a": ["}", "\\"{"]}}'
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "deep": {"type": "object"},
                },
            },
        },
    }
]
CALL = '{"name": "weather", "arguments": ' + WEATHER + "}"
SWAPPED = '{"arguments": ' + WEATHER + ', "name": "weather"}'
CLOCK = '{"name": "clock", "arguments": {}}'
ONE = [Call("weather", WEATHER)]
BOTH = [Call("weather", WEATHER), Call("clock", "{}")]

CASES = {
    "hermes": ("hermes", f"<tool_call>\n{CALL}\n</tool_call>", "", ONE),
    "hermes, text before it": (
        "hermes",
        f"Let me see < a.\n\n<tool_call>{CALL}</tool_call>\n<tool_call>{CLOCK}</tool_call>",
        "Let me see < a.",
        BOTH,
    ),
    "hermes, name last": ("hermes", f"<tool_call>{SWAPPED}</tool_call>", "", ONE),
    "hermes, not closed": ("hermes", f"<tool_call>{CALL}", "", ONE),
    "hermes, none": ("hermes", "a <tool_cal> b ", "a <tool_cal> b ", []),
    "hermes, no JSON": ("hermes", "<tool_call>oh</tool_call>", "<tool_call>oh</tool_call>", []),
    "granite": ("granite", f"<tool_call>[{CALL}, {CLOCK}]", "", BOTH),
    "granite 3.0": ("granite", f"<|tool_call|>[{CALL}]", "", ONE),
    "granite, bare": ("granite", f" [{CALL}]", "", ONE),
    "granite, text": ("granite", "It is [warm].", "It is [warm].", []),
    "granite, a list": ("granite", "[1, 2]", "[1, 2]", []),
    "llama3_json": (
        "llama3_json",
        '{"name": "weather", "parameters": ' + WEATHER + "}",
        "",
        ONE,
    ),
    "llama3_json, tag and two": ("llama3_json", f"<|python_tag|>{CALL}; {CLOCK}", "", BOTH),
    "llama3_json, other JSON": ("llama3_json", '{"name": "Bob"}', '{"name": "Bob"}', []),
    "llama3_json, text": ("llama3_json", "Hi {there}", "Hi {there}", []),
    "mistral": ("mistral", f"[TOOL_CALLS][{CALL}, {CLOCK}]", "", BOTH),
    "mistral, text": ("mistral", f"Well [TOOL_CALLS] [{CALL}]", "Well", ONE),
    "mistral, newer": ("mistral", f"[TOOL_CALLS]weather{WEATHER}[TOOL_CALLS]clock{{}}", "", BOTH),
    "mistral, newest": ("mistral", f"[TOOL_CALLS]weather[CALL_ID]x1[ARGS]{WEATHER}", "", ONE),
    "phi4_mini_json": ("phi4_mini_json", f"functools[{CALL},{CLOCK}]", "", BOTH),
    "jamba": ("jamba", f"<tool_calls>[{CALL}]</tool_calls>", "", ONE),
    "granite-20b-fc": ("granite-20b-fc", f"<function_call>{CALL}<function_call>{CLOCK}", "", BOTH),
    "pythonic": (
        "pythonic",
        "[weather(city='São Paulo', days=2, deep={'a': ['}', '\"{']}), clock()]",
        "",
        BOTH,
    ),
    "pythonic, text": ("pythonic", "See [here](x)", "See [here](x)", []),
    "pythonic, a list": ("pythonic", "[1, 2]", "[1, 2]", []),
    "pythonic, an expression": ("pythonic", "[f(x=1+y)]", "[f(x=1+y)]", []),
    "qwen3_coder": (
        "qwen3_coder",
        (
            "Now:\n<tool_call>\n<function=weather>\n<parameter=city>\nSão Paulo\n</parameter>\n"
            "<parameter=days>\n2\n</parameter>\n"
            '<parameter=deep>\n{"a": ["}", "\\"{"]}\n</parameter>\n'
            "</function>\n</tool_call>\n<tool_call>\n<function=clock>\n</function>\n</tool_call>"
        ),
        "Now:",
        BOTH,
    ),
    "qwen3_coder, text": ("qwen3_coder", "a < b <tool_ c", "a < b <tool_ c", []),
}


def normal(calls):
    return [Call(each.name, json.dumps(json.loads(each.arguments))) for each in calls]


def in_pieces(parser, text, cuts):
    result, at = Parsed(), 0
    for length in [*cuts, len(text)]:
        result.add(parser.feed(text[at : at + length]))
        at += length
    return result.add(parser.finish())


@pytest.mark.parametrize("case", CASES)
def test_calls_are_read_out_of_a_whole_answer(case):
    name, text, content, calls = CASES[case]

    found = parsed(PARSERS[name](TOOLS), text)

    assert (found.content, normal(found.calls)) == (content, normal(calls))


@pytest.mark.parametrize("case", CASES)
def test_one_character_at_a_time_says_the_same(case):
    name, text, _, _ = CASES[case]

    found = in_pieces(PARSERS[name](TOOLS), text, [1] * len(text))

    assert found == parsed(PARSERS[name](TOOLS), text)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.lists(st.integers(0, 12), max_size=30))
def test_no_cut_of_a_stream_makes_a_difference(case, cuts):
    name, text, _, _ = CASES[case]

    assert in_pieces(PARSERS[name](TOOLS), text, cuts) == parsed(PARSERS[name](TOOLS), text)


fragments = st.lists(
    st.sampled_from(
        ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "functools", CALL, CLOCK,
         '{"name": "x"}', '{"arguments"', "[", "]", "{", "}", ",", '"', "\\", " ", "\n", ";",
         "f(a)", "<function=f>", "</function>", "<parameter=p>", "</parameter>", "word", "é"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(PARSERS)), fragments, st.lists(st.integers(0, 9), max_size=30))
@example("qwen3_coder", "</tool_call><function=f>", [4, 9])
def test_nor_does_it_where_the_model_has_lost_its_thread(name, text, cuts):
    whole = parsed(PARSERS[name](TOOLS), text)

    assert in_pieces(PARSERS[name](TOOLS), text, cuts) == whole


def test_the_name_comes_first_and_then_the_arguments_in_fragments():
    parser = PARSERS["hermes"](TOOLS)
    said = ['<tool_call>{"name": "f", "arg', 'uments": {"a"', ": 1", "}}", "</tool_call>"]

    assert [parser.feed(each) for each in said] == [
        [],
        [CallStart(0, "f"), CallArguments(0, '{"a"')],
        [CallArguments(0, ": 1")],
        [CallArguments(0, "}")],
        [],
    ]


def test_arguments_that_are_a_string_of_json_are_what_is_in_it():
    found = parsed(PARSERS["hermes"](()), '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}')

    assert found.calls == [Call("f", '{"a": 1}')]


def test_a_required_call_is_a_list_of_names_and_parameters():
    found = parsed(forced.RequiredTools(), '[{"name": "f", "parameters": {"a": 1}}]')

    assert (found.content, found.calls) == ("", [Call("f", '{"a": 1}')])


def test_a_named_call_is_all_of_the_answer():
    parser = forced.NamedTool("f")

    assert parser.feed('{"a"') == [CallStart(0, "f"), CallArguments(0, '{"a"')]
    assert parser.feed(": 1}") == [CallArguments(0, ": 1}")]


def test_text_is_told_as_soon_as_it_can_be_no_call():
    assert PARSERS["hermes"](()).feed("Hello <t") == [Content("Hello")]
    assert PARSERS["llama3_json"](()).feed("Hello <b") == [Content("Hello <b")]
