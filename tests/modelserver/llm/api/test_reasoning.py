import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.modelserver.llm.api.reasoning import PARSERS, Split

CASES = {
    "deepseek_r1, tag in the prompt": ("deepseek_r1", "hm\n</think>\n\nyes", "hm\n", "\n\nyes"),
    "deepseek_r1, tag": ("deepseek_r1", "<think>hm</think>yes", "hm", "yes"),
    "deepseek_r1, cut off": ("deepseek_r1", "hm </thin", "hm </thin", ""),
    "qwen3": ("qwen3", "<think>\nhm\n</think>\n\nyes", "\nhm\n", "\n\nyes"),
    "qwen3, no thoughts": ("qwen3", "yes <think>", "", "yes <think>"),
    "granite": (
        "granite",
        "Here's my thought process: hm\n\nHere's my response: yes",
        " hm\n\n",
        " yes",
    ),
    "granite, none": ("granite", "Here it is", "", "Here it is"),
}


def read(name, pieces):
    parser = PARSERS[name]()
    found = [*(parser.feed(each) for each in pieces), parser.finish()]
    return Split("".join(e.reasoning for e in found), "".join(e.content for e in found))


@pytest.mark.parametrize("case", CASES)
def test_thoughts_are_told_apart(case):
    name, text, reasoning, content = CASES[case]

    assert read(name, [text]) == (reasoning, content)
    assert read(name, text) == (reasoning, content)


pieces = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<th", "ink>", "Here is my thought process:", "Here's my response:",
         "Here is my response:", "Here", " ", "\n", "x"]
    ),
    max_size=8,
)  # fmt: skip


@given(st.sampled_from(sorted(PARSERS)), pieces, st.integers(1, 7))
def test_no_cut_of_a_stream_makes_a_difference(name, parts, size):
    text = "".join(parts)

    cut = [text[at : at + size] for at in range(0, len(text), size)]

    assert read(name, cut) == read(name, [text])
