import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from motorpool.modelserver.llm.api.text import Detokenizer, Stopped, StopStrings


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def sentence_pieces():
    """As Llama 2's: a mark for spaces, and a token for each byte that is no word."""
    words = ["<unk>", "▁", "▁Hello", "▁world", "lo", "He", "!", "a"]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    made = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[]))
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return made


BYTES = byte_level()
PIECES = sentence_pieces()


def in_pieces(decode, ids, lengths, prompt=()):
    reader = Detokenizer(decode, prompt)
    text, at = "", 0
    for length in [*lengths, *([1] * len(ids))]:
        text += reader.add(ids[at : at + length])
        at += length
    return text


lengths = st.lists(st.integers(1, 9), max_size=20)


@given(st.text(max_size=30), lengths)
def test_text_is_the_same_however_its_tokens_are_cut(text, cuts):
    ids = BYTES.encode(text).ids

    assert in_pieces(BYTES.decode, ids, cuts) == text


@given(st.lists(st.integers(0, 255), max_size=40), lengths)
def test_bytes_that_are_no_text_come_out_the_same_however_they_are_cut(ids, cuts):
    text = in_pieces(BYTES.decode, ids, cuts)

    assert text == in_pieces(BYTES.decode, ids, [])
    assert BYTES.decode(ids).startswith(text)
    assert BYTES.decode(ids).removeprefix(text).strip("�") == ""


def test_a_character_is_held_back_until_its_last_byte_is_there():
    reader = Detokenizer(BYTES.decode)
    ids = BYTES.encode("a🎉").ids

    assert [reader.add([each]) for each in ids] == ["a", "", "", "", "🎉"]


@pytest.mark.parametrize("cuts", [[1] * 9, [9], [2, 7]])
def test_the_space_that_a_word_begins_with_is_kept_after_a_prompt(cuts):
    ids = [PIECES.token_to_id(word) for word in ("▁Hello", "▁world", "!")]
    prompt = [PIECES.token_to_id("a")]

    assert in_pieces(PIECES.decode, ids, cuts, prompt) == " Hello world!"


@given(st.text(alphabet="é中🎉", max_size=12), lengths)
def test_bytes_in_place_of_words_become_characters(text, cuts):
    ids = [PIECES.token_to_id(f"<0x{byte:02X}>") for byte in text.encode()]

    assert in_pieces(PIECES.decode, ids, cuts, [PIECES.token_to_id("a")]) == text


def until_stopped(strings, pieces, *, include=False):
    finder = StopStrings(strings, include=include)
    text = ""
    for piece in pieces:
        found = finder.add(piece)
        if isinstance(found, Stopped):
            return text + found.text, found.reason
        text += found
    return text + finder.rest(), None


@settings(max_examples=300)
@given(
    st.text("ab", max_size=20),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 4), max_size=20),
    st.booleans(),
)
def test_the_first_end_of_a_stop_string_stops(text, strings, cuts, include):
    pieces, at = [], 0
    for length in [*cuts, len(text)]:
        pieces.append(text[at : at + length])
        at += length
    ends = [text.find(each) + len(each) for each in strings if each in text]

    found, reason = until_stopped(strings, pieces, include=include)

    if not ends:
        assert (found, reason) == (text, None)
    else:
        assert reason in strings
        assert text[: min(ends)].endswith(reason)
        assert found == text[: min(ends) if include else min(ends) - len(reason)]


def test_no_more_is_held_back_than_a_stop_string_may_begin_with():
    finder = StopStrings(["</s>"])

    assert [finder.add(each) for each in ("abc", "d<", "/", "x")] == ["abc", "d", "", "</x"]
