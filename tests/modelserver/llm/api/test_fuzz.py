"""Bodies that nobody would send: each gets an answer, and none costs the next one its own."""

import http.client
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.modelserver.llm.api.program import started
from tests.modelserver.llm.checkpoints import make_checkpoint

pytestmark = pytest.mark.slow

FIELDS = [
    "add_generation_prompt", "add_special_tokens", "allowed_token_ids", "bad_words", "best_of",
    "chat_template", "chat_template_kwargs", "continue_final_message", "documents", "echo",
    "frequency_penalty", "guided_choice", "guided_grammar", "guided_json", "guided_regex",
    "ignore_eos", "include_stop_str_in_output", "logit_bias", "logprobs", "max_completion_tokens",
    "messages", "min_p", "min_tokens", "model", "n", "parallel_tool_calls", "presence_penalty",
    "priority", "prompt", "prompt_embeds", "reasoning_effort", "repetition_penalty", "request_id",
    "response_format", "return_tokens_as_token_ids", "seed", "skip_special_tokens", "stop",
    "stop_token_ids", "stream", "stream_options", "structured_outputs", "suffix", "temperature",
    "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "truncate_prompt_tokens",
    "use_beam_search",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([2**31, 2**63, -(2**63), 2**70, 1e300, -1e-300, 0.5, 1e9])
    | st.text(max_size=5)
    | st.sampled_from(["auto", "required", "json_object", "{{ 1/0 }}", "[a-", "root ::= ", "tiny"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["role", "content", "type", "text", "function", "name", "parameters", "json_schema",
             "schema", "include_usage", "arguments", "tool_calls", "json", "choice", "x"]
        ),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
USER = {"role": "user", "content": "Hello?"}


def answered(port, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, body, {"content-type": "application/json"})
    with connection.getresponse() as response:
        status, read = response.status, response.read()
    connection.close()
    return status, read


def check(status, body):
    assert status in (200, 400, 404), body
    if status != 200:
        assert json.loads(body)["object"] == "error"
    elif body.startswith(b"data: "):
        assert body.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(body)["choices"]


bounded = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@bounded
@given(more=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
def test_any_field_of_any_type_is_answered(program, more):
    chat = {"messages": [USER], "max_tokens": 2} | more
    text = {"prompt": "x", "max_tokens": 2} | more

    check(*answered(program.port, "/v1/chat/completions", json.dumps(chat)))
    check(*answered(program.port, "/v1/completions", json.dumps(text)))


RESPONSE_FIELDS = [
    "background", "chat_template_kwargs", "conversation", "include", "input", "instructions",
    "max_output_tokens", "metadata", "min_p", "parallel_tool_calls", "previous_response_id",
    "priority", "prompt", "reasoning", "request_id", "seed", "service_tier", "stop", "store",
    "stream", "temperature", "text", "tool_choice", "tools", "top_k", "top_logprobs", "top_p",
    "truncation", "user",
]  # fmt: skip
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["message", "function_call", "function_call_output", "x"])},
        optional={
            "role": VALUES,
            "content": VALUES,
            "call_id": VALUES,
            "name": VALUES,
            "arguments": VALUES,
            "output": VALUES,
        },
    ),
    max_size=3,
)


@bounded
@given(
    more=st.dictionaries(st.sampled_from(RESPONSE_FIELDS), VALUES, max_size=4),
    items=st.none() | ITEMS,
)
def test_any_response_that_is_asked_for_is_answered(program, more, items):
    asked = {"input": "x" if items is None else items, "max_output_tokens": 2} | more

    status, body = answered(program.port, "/v1/responses", json.dumps(asked))

    assert status in (200, 400, 404), body
    if body.startswith(b"event: response.created"):
        assert b"event: response.completed" in body or b'data: {"error"' in body
    else:
        assert json.loads(body)["object"] == ("response" if status == 200 else "error")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    checkpoint = make_checkpoint(tmp_path_factory.mktemp("embedder") / "model", "bert")
    with started(checkpoint, log=tmp_path_factory.mktemp("log") / "log") as running:
        yield running


@bounded
@given(
    path=st.sampled_from(["/v1/embeddings", "/pooling", "/score", "/rerank"]),
    more=st.dictionaries(
        st.sampled_from(
            ["input", "text_1", "text_2", "query", "documents", "top_n", "encoding_format",
             "truncate_prompt_tokens", "dimensions", "messages", "add_special_tokens"]
        ),
        VALUES,
        max_size=4,
    ),
)  # fmt: skip
def test_any_texts_are_compared_or_refused(embedder, path, more):
    asked = {"input": "x", "text_1": "a", "text_2": ["b", ""], "query": "a", "documents": ["b"]}

    status, body = answered(embedder.port, path, json.dumps(asked | more))

    assert status in (200, 400), body
    assert embedder.process.poll() is None


@bounded
@given(body=st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_answered(program, body):
    for path in (
        "/v1/chat/completions", "/tokenize", "/detokenize", "/v1/embeddings", "/v1/responses",
    ):  # fmt: skip
        status, _ = answered(program.port, path, body)
        assert status in (400, 404) or (status == 200 and path == "/tokenize")


def test_the_program_still_answers_as_before(program):
    check(
        *answered(
            program.port, "/v1/chat/completions", json.dumps({"messages": [USER], "max_tokens": 1})
        )
    )
    assert program.process.poll() is None
    assert "Traceback" not in program.log.read_text()
