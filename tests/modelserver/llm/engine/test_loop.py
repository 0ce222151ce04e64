"""The loop over a real pipeline: what is asked for, what comes of it."""

import dataclasses
import json
import math
import re
from collections import defaultdict
from pathlib import Path

import pytest

from motorpool.modelserver.llm.checkpoint import vocabulary
from motorpool.modelserver.llm.contract import (
    EngineOptions,
    Sampling,
    Structure,
)
from motorpool.modelserver.llm.engine.loading import load
from motorpool.modelserver.llm.engine.vocabulary import token_bytes
from motorpool.modelserver.llm.engine.wire import Add
from tests.modelserver.llm.engine.conftest import EXACT
from tests.modelserver.llm.gguf import make_gguf

GREEDY = Sampling(12, temperature=0)
PROMPT = [5, 6, 7]
EOS = {0, 2}


class Engine:
    """Adds generations to a loop and turns it until all have ended."""

    def __init__(self, checkpoint: Path, **options):
        self.loop = load(EngineOptions(checkpoint, **options), lambda: 0.0).loop
        self.bytes = token_bytes(vocabulary.tokenizer_json(checkpoint), 320)
        self.number = 0

    def add(self, prompt=PROMPT, sampling=GREEDY, **changed):
        self.number += 1
        self.loop.add(Add(self.number, prompt, dataclasses.replace(sampling, **changed)))
        return self.number

    def run(self):
        """The events of each number."""
        events = defaultdict(list)
        for _ in range(20_000):
            for event in self.loop.turn():
                events[event.number].append(event)
            if self.loop.is_idle:
                return events
        raise AssertionError("the loop never ends")

    def one(self, prompt=PROMPT, sampling=GREEDY, **changed):
        """All tokens of one generation, and its last event."""
        number = self.add(prompt, sampling, **changed)
        events = self.run()[number]
        return [token for event in events for token in event.ids], events[-1]

    def text(self, **asked):
        ids, last = self.one(sampling=Sampling(**asked))
        assert last.finish == "stop", last
        assert ids[-1] in EOS
        return b"".join(self.bytes[token] for token in ids)


@pytest.fixture(scope="module")
def engine(checkpoint):
    return Engine(checkpoint, **EXACT)


class TestSampling:
    def test_greedy_is_the_same_each_time_and_ends_at_the_limit(self, engine):
        first, last = engine.one()
        assert len(first) == 12
        assert last.finish == "length"
        assert engine.one()[0] == first

    def test_a_temperature_of_nearly_nothing_is_greedy(self, engine):
        assert engine.one(temperature=1e-6)[0] == engine.one()[0]
        assert engine.one(temperature=0.01, seed=5)[0] == engine.one()[0]

    def test_a_seed_gives_the_same_answer_alone_and_in_company(self, engine):
        alone = [engine.one(temperature=1.0, seed=seed)[0] for seed in range(6)]
        numbers = [engine.add(temperature=1.0, seed=seed) for seed in range(6)]
        events = engine.run()
        together = [[t for event in events[n] for t in event.ids] for n in numbers]
        assert together == alone
        assert len({tuple(each) for each in alone}) == 6

    def test_seeds_differ_in_their_upper_half_too(self, engine):
        small, large = (engine.one(temperature=1.0, seed=s)[0] for s in (1, 1 + 2**40))
        assert small != large

    @pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
    def test_the_narrowest_choice_is_the_greedy_one(self, engine, narrow):
        assert engine.one(temperature=1.0, seed=3, **narrow)[0] == engine.one()[0]

    def test_penalties_change_what_is_said_again(self, engine):
        sampling = dataclasses.replace(GREEDY, max_tokens=64, ignore_eos=True)
        plain = engine.one(sampling=sampling)[0]
        assert len(set(plain)) < 64
        for penalty in ({"presence_penalty": 2.0}, {"frequency_penalty": 2.0},
                        {"repetition_penalty": 100.0}):  # fmt: skip
            changed = engine.one(sampling=sampling, **penalty)[0]
            assert len(set(changed)) > len(set(plain)), penalty

    def test_logprobs_are_of_the_chosen_tokens_one_each(self, engine):
        for temperature in (0.0, 1.0):
            number = engine.add(logprobs=True, temperature=temperature)
            events = engine.run()[number]
            assert all(len(event.ids) == len(event.logprobs) for event in events)
            assert all(-20 < value < 0 for event in events for value in event.logprobs)

    def test_the_greedy_token_is_the_likeliest(self, engine):
        number = engine.add(logprobs=True, max_tokens=1)
        (greedy,) = engine.run()[number][0].logprobs
        numbers = [
            engine.add(logprobs=True, max_tokens=1, temperature=1.0, seed=seed)
            for seed in range(10)
        ]
        events = engine.run()
        sampled = [events[number][0].logprobs[0] for number in numbers]
        assert max(sampled) <= greedy + 1e-5

    def test_logprobs_are_not_sent_where_nobody_asked(self, engine):
        number = engine.add(temperature=1.0)
        assert not any(event.logprobs for event in engine.run()[number])


class TestEnds:
    def test_a_stop_token_ends_the_answer_and_is_named(self, engine):
        fourth = engine.one()[0][3]
        ids, last = engine.one(stop_token_ids=(fourth,))
        assert ids[-1] == fourth
        assert (last.finish, last.stop_token) == ("stop", fourth)

    def test_the_end_of_text_ends_it_without_a_name(self, engine):
        ids, last = self.until_end_of_text(engine)
        assert ids[-1] in EOS
        assert (last.finish, last.stop_token) == ("stop", None)

    def test_the_end_of_text_can_be_passed_over_with_stop_tokens_and_without(self, engine):
        ids, _ = self.until_end_of_text(engine)
        never = next(token for token in range(3, 320) if token not in ids)
        for stops in ((), (never,)):
            longer, _ = engine.one(
                max_tokens=len(ids) + 5, temperature=1.5, seed=self.seed,
                ignore_eos=True, stop_token_ids=stops,
            )  # fmt: skip
            assert longer[: len(ids)] == ids
            assert len(longer) > len(ids)

    def until_end_of_text(self, engine):
        for self.seed in range(200):
            ids, last = engine.one(max_tokens=100, temperature=1.5, seed=self.seed)
            if last.finish == "stop":
                return ids, last
        raise AssertionError("no answer has ended by itself")

    def test_before_min_tokens_nothing_ends_it(self, engine):
        fourth = engine.one()[0][3]
        ids, _ = engine.one(stop_token_ids=(fourth,), min_tokens=8)
        assert len(ids) >= 8
        assert fourth not in ids[:7]

    def test_the_context_ends_it(self, engine):
        ids, last = engine.one([5] * 500, max_tokens=100, ignore_eos=True)
        assert (len(ids), last.finish) == (12, "length")


class TestMistakes:
    @pytest.mark.parametrize(
        ("prompt", "asked", "message"),
        [
            ([], {}, "the prompt is empty"),
            ([5] * 512, {}, "the prompt has 512 tokens, and 511 fit the context"),
            ([5, 320], {}, "outside of the vocabulary of 320"),
            ([-1], {}, "outside of the vocabulary"),
            (PROMPT, {"max_tokens": 0}, "max_tokens must be at least 1"),
            (PROMPT, {"temperature": math.nan}, "not a finite number"),
            (PROMPT, {"temperature": -1.0}, "temperature must be non-negative"),
            (PROMPT, {"repetition_penalty": 0.0}, "repetition_penalty"),
            (PROMPT, {"presence_penalty": 3.0}, "presence_penalty"),
            (PROMPT, {"temperature": 1.0, "top_p": 2.0}, "top_p"),
            (PROMPT, {"stop_token_ids": (-3,)}, "stop_token_ids must not be negative"),
        ],
    )
    def test_a_request_that_cannot_be_begun_says_why_and_nobody_else_notices(
        self, engine, prompt, asked, message
    ):
        expected = engine.one()[0]
        other, wrong = engine.add(), engine.add(prompt, **asked)
        events = engine.run()
        assert [event.finish for event in events[wrong]] == ["error"]
        assert message in events[wrong][0].message
        assert [token for event in events[other] for token in event.ids] == expected


class TestCompany:
    def test_as_many_run_as_may_and_the_others_wait_their_turn(self, checkpoint):
        engine = Engine(checkpoint, max_num_seqs=2)
        numbers = [engine.add(max_tokens=4, ignore_eos=True) for _ in range(5)]
        engine.loop.turn()
        state = engine.loop.state()
        assert (state.running, state.waiting) == (2, 3)
        assert 0 < state.kv_cache_usage <= 1
        events = engine.run()
        assert sorted({*events, *numbers[:2]}) == numbers
        state = engine.loop.state()
        assert (state.running, state.waiting, state.kv_cache_usage) == (0, 0, 0.0)

    def test_what_is_cancelled_makes_room_before_the_next_step(self, checkpoint):
        engine = Engine(checkpoint, max_num_seqs=1)
        long = engine.add(max_tokens=400, ignore_eos=True)
        short = engine.add(max_tokens=3)
        engine.loop.turn()
        engine.loop.cancel(long)
        assert (engine.loop.state().running, engine.loop.state().waiting) == (0, 1)
        events = engine.run()
        assert long not in events
        assert sum(len(event.ids) for event in events[short]) == 3

    def test_what_waits_can_be_cancelled_and_what_has_ended_too(self, engine):
        number = engine.add()
        engine.loop.cancel(number)
        assert engine.run() == {}
        done = engine.add()
        engine.run()
        engine.loop.cancel(done)
        assert engine.loop.is_idle

    def test_prefixes_are_kept_and_counted(self, checkpoint):
        engine = Engine(checkpoint)
        prompt = [9 + n % 200 for n in range(200)]
        first = engine.one(prompt)[0]
        assert engine.loop.state().prefix_cache_hits == 0
        assert engine.one(prompt)[0] == first
        state = engine.loop.state()
        assert (state.prefix_cache_queries, state.prefix_cache_hits) == (400, 192)

    def test_a_cache_too_small_for_all_serves_them_all(self, checkpoint):
        """Each wants most of the cache for itself, and says what it would have said alone."""
        alone = Engine(checkpoint, **EXACT)
        prompts = [[20 + n] * 150 for n in range(6)]
        asked = {"max_tokens": 200, "ignore_eos": True}
        expected = [alone.one(prompt, **asked)[0] for prompt in prompts]
        block = 2 * 2 * 2 * 32 * 16 * 4
        engine = Engine(checkpoint, max_model_len=400, kv_cache_bytes=20 * block, **EXACT)
        numbers = [engine.add(prompt, **asked) for prompt in prompts]
        events = engine.run()
        for number, answer in zip(numbers, expected, strict=True):
            assert events[number][-1].finish == "length"
            assert [token for event in events[number] for token in event.ids] == answer


class TestStructure:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("expression", [r"(yes|no) [0-9]{3}", r"[a-f]{1,8}-\d\d?", "ü+x"])
    def test_every_answer_matches_the_expression(self, engine, expression, seed):
        structure = Structure("regex", expression)
        text = engine.text(max_tokens=300, seed=seed, structure=structure, temperature=0.7)
        assert re.fullmatch(expression, text.decode())

    @pytest.mark.parametrize("seed", range(5))
    def test_every_answer_is_of_the_schema(self, engine, seed):
        schema = {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "degrees": {"type": "integer", "minimum": -40, "maximum": 50},
                "sky": {"enum": ["clear", "cloudy"]},
                "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
            },
            "required": ["city", "degrees", "sky", "tags"],
            "additionalProperties": False,
        }
        structure = Structure("json", json.dumps(schema))
        # Spaces may stand between any two, as many as the model likes: the penalty ends that.
        text = engine.text(
            max_tokens=480, seed=seed, structure=structure, temperature=0.8, frequency_penalty=2.0
        )
        value = json.loads(text.decode(errors="replace"))
        assert list(value) == ["city", "degrees", "sky", "tags"]
        assert len(value["city"]) <= 12 or "\ufffd" in value["city"]
        assert -40 <= value["degrees"] <= 50
        assert value["sky"] in ("clear", "cloudy")
        assert len(value["tags"]) <= 2
        assert all(isinstance(tag, bool) for tag in value["tags"])

    @pytest.mark.parametrize("seed", range(4))
    def test_one_of_the_choices(self, engine, seed):
        choices = ("positive", "negativ\u00e9", 'with "quotes"\n\\ and more', "{}")
        structure = Structure("choice", choices=choices)
        text = engine.text(max_tokens=100, seed=seed, structure=structure)
        assert text.decode() in choices

    def test_any_object(self, engine):
        structure = Structure("json_object")
        for seed in range(40):
            ids, last = engine.one(
                sampling=Sampling(400, seed=seed, structure=structure, frequency_penalty=2.0)
            )
            if last.finish == "stop":
                text = b"".join(engine.bytes[token] for token in ids)
                assert isinstance(json.loads(text.decode(errors="replace")), dict)
                return
        raise AssertionError("no object has ended")

    def test_a_grammar(self, engine):
        structure = Structure("grammar", 'root ::= "(" root ")" | "x"')
        text = engine.text(max_tokens=400, seed=1, structure=structure)
        assert re.fullmatch(r"(\()*x(\))*", text.decode())
        assert text.count(b"(") == text.count(b")")

    def test_stop_tokens_and_min_tokens_do_not_break_it(self, engine):
        structure = Structure("regex", "ab")
        text = engine.text(
            max_tokens=50, structure=structure, min_tokens=20, ignore_eos=True, temperature=0.0
        )
        assert text == b"ab"

    @pytest.mark.parametrize(
        ("structure", "message"),
        [
            (Structure("regex", "(a"), "the regex cannot be used: .*parenthesis"),
            (Structure("json", '{"type":'), "the JSON schema is not JSON"),
            (Structure("json", '{"type": "zorro"}'), "the json cannot be used: .*zorro"),
            (Structure("json", '{"multipleOf": 3}'), "what is not supported: multipleOf"),
            (Structure("json", '{"items": {"not": {}}}'), "what is not supported: not"),
            (Structure("json", '{"allOf": [{}, {}]}'), "not supported: allOf of several"),
            (Structure("json", '{"not":' * 200 + "{}" + "}" * 200), "nested more than 100"),
            (Structure("regex", "(" * 20_000 + "a" + ")" * 20_000), "nested 20000 deep"),
            (Structure("json", "[]"), "must be an object"),
            (Structure("grammar", "root ::= x"), "the grammar cannot be used: "),
            (Structure("choice"), "a choice needs texts"),
            (Structure("regex", "a" * 200_000), "the structure is 200000 characters long"),
        ],
        ids=lambda value: value.kind if isinstance(value, Structure) else "",
    )
    def test_what_cannot_be_compiled_is_said_and_nobody_else_notices(
        self, engine, structure, message
    ):
        expected = engine.one()[0]
        other = engine.add()
        engine.loop.turn()
        for _ in range(2):  # the second time it is remembered
            wrong = engine.add(structure=structure)
            events = engine.run()
            assert [event.finish for event in events[wrong]] == ["error"]
            assert re.search(message, events[wrong][0].message)
        assert engine.one()[0] == expected
        assert other

    def test_properties_may_be_called_like_keywords(self, engine):
        schema = '{"properties": {"not": {"type": "null"}}, "required": ["not"]}'
        ids, last = engine.one(
            sampling=Sampling(300, structure=Structure("json", schema), frequency_penalty=2.0)
        )
        assert last.message == ""
        assert ids

    def test_without_a_tokenizer_it_is_said_that_there_are_none(self, checkpoint, tmp_path):
        for name in ("config.json", "generation_config.json", "model.safetensors"):
            (tmp_path / name).symlink_to(checkpoint / name)
        (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {}}}')
        engine = Engine.__new__(Engine)
        engine.loop = load(EngineOptions(tmp_path), lambda: 0.0).loop
        engine.number = 0
        _, last = engine.one(structure=Structure("json_object"))
        assert "structured answers are not available here" in last.message
        assert len(engine.one()[0]) == 12

    def test_the_tokenizer_may_be_elsewhere(self, checkpoint, tmp_path):
        for name in ("config.json", "generation_config.json", "model.safetensors"):
            (tmp_path / name).symlink_to(checkpoint / name)
        engine = Engine.__new__(Engine)
        engine.loop = load(EngineOptions(tmp_path, tokenizer=checkpoint), lambda: 0.0).loop
        engine.number = 0
        engine.bytes = token_bytes(vocabulary.tokenizer_json(checkpoint), 320)
        assert engine.text(max_tokens=9, structure=YES_OR_NO) in (b"yes", b"no")

    def test_a_gguf_file_has_its_own(self, tmp_path):
        model = make_gguf(tmp_path / "model.gguf", "llama")
        engine = Engine(model)
        assert engine.text(max_tokens=9, structure=YES_OR_NO) in (b"yes", b"no")

    def test_a_gguf_file_whose_tokenizer_is_not_read_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(vocabulary, "_CUTS", {})
        engine = Engine.__new__(Engine)
        model = make_gguf(tmp_path / "model.gguf", "llama")
        engine.loop, engine.number = load(EngineOptions(model), lambda: 0.0).loop, 0
        _, last = engine.one(structure=YES_OR_NO)
        assert "not available here: the GGUF file's tokenizer is of the kind" in last.message


YES_OR_NO = Structure("choice", choices=("yes", "no"))
