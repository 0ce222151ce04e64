"""Cross-encoders: what they say of two texts is what the program says that defines them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motorpool.modelserver.llm.api.tokenizer import Tokenizer
from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.modelserver.llm.graphs import EXACT
from tests.modelserver.llm.reference import load_reference

OPTIONS = CheckpointOptions(precision="f32")
ONE_LABEL = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
PAIRS = [("a motor pool", "keeps cars"), ("who", "01234 the lazy dog, it is said"), ("", "x")]
IDENTITY = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}


def make_cross_encoder(directory: Path, family: str, **config: Any) -> Path:
    name = {"bert": "Bert", "xlm-roberta": "XLMRoberta"}[family]
    architectures = [f"{name}ForSequenceClassification"]
    settings = {**ONE_LABEL, "architectures": architectures, **config}
    checkpoint = make_checkpoint(directory, family, dtype="f32", **settings)
    separate(checkpoint)
    return checkpoint


def separate(checkpoint: Path) -> None:
    """<|endoftext|> a <|im_end|> b <|im_end|>, in the place of [CLS] and [SEP]."""
    path = checkpoint / "tokenizer.json"
    made = json.loads(path.read_text())
    start, end = "<|endoftext|>", "<|im_end|>"
    special = {text: {"id": text, "ids": [number], "tokens": [text]} for number, text in
               ((0, start), (2, end))}  # fmt: skip
    opening, closing = (
        {"SpecialToken": {"id": text, "type_id": kind}} for text, kind in ((start, 0), (end, 0))
    )
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    made["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [opening, first, closing],
        "pair": [opening, first, closing, second, closing],
        "special_tokens": special,
    }
    path.write_text(json.dumps(made))
    about = checkpoint / "tokenizer_config.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"sep_token": end}))


@pytest.mark.slow
@pytest.mark.parametrize("config", [{}, IDENTITY], ids=["sigmoid", "identity"])
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_scores_are_those_of_the_reference(
    family: str, config: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint = make_cross_encoder(tmp_path / "model", family, **config)
    tokenizer = Tokenizer(checkpoint)
    pairs = [tokenizer.encode_pair(*pair, None) for pair in PAIRS]
    prepared = prepare(checkpoint, OPTIONS, None, 0)
    assert prepared.task == "score"
    scores = prepared.embedding("CPU", EXACT)(pairs)
    prepared.close()
    expected = [[expected_score(checkpoint, pair, sigmoid=not config)] for pair in pairs]
    np.testing.assert_allclose(scores, expected, atol=2e-4)


def expected_score(checkpoint: Path, pair: list[int], *, sigmoid: bool) -> float:
    torch, transformers = load_reference()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        checkpoint, attn_implementation="eager"
    )
    types = [0] * len(pair)
    if model.config.type_vocab_size > 1:
        second = pair.index(2) + 1
        types[second:] = [1] * len(types[second:])
    with torch.no_grad():
        logits = model.float()(torch.tensor([pair]), token_type_ids=torch.tensor([types])).logits
    return float(torch.sigmoid(logits) if sigmoid else logits)


def test_a_pair_is_joined_as_the_tokenizer_says_and_its_second_text_cut(tmp_path: Path) -> None:
    tokenizer = Tokenizer(make_cross_encoder(tmp_path / "model", "bert"))
    a, b = (tokenizer.encode(text, add_special_tokens=False) for text in ("who", "01234"))

    assert tokenizer.encode_pair("who", "01234", None) == [0, *a, 2, *b, 2]
    assert tokenizer.encode_pair("who", "01234", len(a) + 5) == [0, *a, 2, *b[:2], 2]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"id2label": {"0": "A", "1": "B"}}, "BertForSequenceClassification with 2 labels"),
        (
            {"sbert_ce_default_activation_function": "torch.nn.Softmax"},
            "the activation 'torch.nn.Softmax' of a score is not known",
        ),
    ],
)
def test_what_gives_no_one_number_is_refused(
    config: dict[str, Any], text: str, tmp_path: Path
) -> None:
    checkpoint = make_cross_encoder(tmp_path / "model", "bert", **config)

    with pytest.raises(CheckpointError, match=text):
        prepare(checkpoint, OPTIONS, None, 0)


def test_two_texts_need_a_token_between_them(tmp_path: Path) -> None:
    checkpoint = make_cross_encoder(tmp_path / "model", "bert")
    about = checkpoint / "tokenizer_config.json"
    about.write_text(json.dumps({"sep_token": "[SEP]"}))

    with pytest.raises(CheckpointError, match=r"has no token '\[SEP\]'"):
        prepare(checkpoint, OPTIONS, None, 0)
