"""tokenizer.json -> the bytes of every token, beside what the tokenizers library decodes."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from motorpool.modelserver.llm.engine.vocabulary import NoVocabulary, token_bytes

TEXT = ["Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich 🥊", '{"a": [1, 2.5]}'] * 3


def trained(tokenizer, trainer):
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(
        tokenizer,
        trainers.BpeTrainer(
            vocab_size=330,
            initial_alphabet=alphabet,
            special_tokens=["<eos>"],
            show_progress=False,
        ),
    )


def sentencepiece():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=400, special_tokens=["<eos>", *bytes_], show_progress=False),
    )
    # A real file has the bytes as plain tokens, not as special ones.
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = document["added_tokens"][:1]
    return Tokenizer.from_str(json.dumps(document))


@pytest.mark.parametrize("make", [gpt2, sentencepiece])
@pytest.mark.parametrize("text", [*TEXT[:2], "déjà vu\n\t\x00 漢字", "<tool>x"])
def test_the_bytes_of_a_text_are_those_of_its_tokens(make, text):
    tokenizer = make()
    tokenizer.add_tokens(["<tool>"])
    vocabulary = token_bytes(tokenizer.to_str().encode(), 512)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert b"".join(vocabulary[token] for token in ids).decode() == text


def test_special_tokens_and_padding_have_no_bytes():
    tokenizer = gpt2()
    size = tokenizer.get_vocab_size()
    vocabulary = token_bytes(tokenizer.to_str().encode(), size + 10)
    assert vocabulary[tokenizer.token_to_id("<eos>")] == b""
    assert vocabulary[size:] == [b""] * 10


def test_tokens_beyond_the_models_vocabulary_are_left_out():
    assert len(token_bytes(gpt2().to_str().encode(), 100)) == 100


def test_a_vocabulary_with_scores():
    document = {"model": {"type": "Unigram", "vocab": [["\u2581a", -1.0], ["<0x0A>", -2.0]]}}
    assert token_bytes(json.dumps(document).encode(), 2) == [b" a", b"\n"]


@pytest.mark.parametrize("text", ["{", '{"model": {"type": "WordPiece", "vocab": {}}}', "[]"])
def test_what_has_no_such_vocabulary_is_said(text):
    with pytest.raises(NoVocabulary, match=r"tokenizer\.json: "):
        token_bytes(text.encode(), 10)
