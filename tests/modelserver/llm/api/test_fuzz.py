"""Bodies that nobody would send: each gets an answer, and none costs the next one its own."""

import http.client
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


@bounded
@given(body=st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_answered(program, body):
    for path in ("/v1/chat/completions", "/tokenize", "/detokenize", "/v1/embeddings"):
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
