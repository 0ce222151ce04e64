"""The openai client, as it is, against the real program and its real engine."""

import json

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.platform import eventually

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Hello?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"unit": {"enum": ["C", "F"]}},
            "required": ["unit"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def client(program):
    with openai.OpenAI(base_url=f"{program.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_models_are_listed(client):
    assert [each.id for each in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "vllm"


def test_a_chat_whole_and_streamed_says_the_same(client):
    asked = {"model": "tiny", "messages": HELLO, "temperature": 0, "max_tokens": 30}

    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )

    text = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens == 30


def test_a_seed_says_the_same_again(client):
    asked = {"model": "tiny", "messages": HELLO, "temperature": 1, "max_tokens": 20}

    one, two, other = (
        client.chat.completions.create(**asked, seed=seed).choices[0].message.content
        for seed in (1, 1, 2)
    )

    assert one == two != other


def test_a_tool_that_is_required_is_called(client):
    asked = {
        "model": "tiny",
        "messages": HELLO,
        "tools": [WEATHER],
        "tool_choice": "required",
        "max_tokens": 400,
        "temperature": 0,
    }

    whole = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()

    (call,) = whole.choices[0].message.tool_calls
    assert whole.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["unit"] in ("C", "F")
    (again,) = streamed.choices[0].message.tool_calls
    assert json.loads(again.function.arguments) == json.loads(call.function.arguments)


class Answer(BaseModel):
    is_warm: bool


def test_an_answer_is_parsed_by_its_schema(client):
    answer = client.chat.completions.parse(
        model="tiny", messages=HELLO, response_format=Answer, temperature=0, max_tokens=400
    )

    assert isinstance(answer.choices[0].message.parsed, Answer)


def test_a_text_completion(client):
    answer = client.completions.create(
        model="tiny", prompt="A motor pool", max_tokens=5, logprobs=0, n=2, seed=3
    )

    assert [each.index for each in answer.choices] == [0, 1]
    assert len(answer.choices[0].logprobs.token_logprobs) == 5
    assert all(each <= 0 for each in answer.choices[0].logprobs.token_logprobs)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"model": "other"}, openai.NotFoundError),
        ({"temperature": -1}, openai.BadRequestError),
        ({"max_tokens": 100_000}, openai.BadRequestError),
        ({"logit_bias": {"1": 5}}, openai.BadRequestError),
        ({"extra_body": {"guided_regex": "("}}, openai.BadRequestError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_clients_own_exceptions(client, more, error, stream):
    with pytest.raises(error) as raised:
        client.chat.completions.create(
            **{"model": "tiny", "messages": HELLO, "stream": stream} | more
        )

    assert raised.value.body["message"]


def metric(program, series):
    lines = httpx.get(f"{program.url}/metrics").text.splitlines()
    (value,) = (line.rpartition(" ")[2] for line in lines if line.startswith(f"{series} "))
    return float(value)


def test_whoever_stops_reading_frees_the_engine(client, program):
    labels = 'engine="0",finished_reason="abort",model_name="tiny"'
    aborted = f"vllm:request_success_total{{{labels}}}"
    running = 'vllm:num_requests_running{engine="0",model_name="tiny"}'
    before = metric(program, aborted)
    stream = client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, max_tokens=480, extra_body={"ignore_eos": True}
    )
    next(stream)
    stream.close()

    eventually(lambda: metric(program, aborted) == before + 1)
    eventually(lambda: metric(program, running) == 0)
    whole = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=1)
    assert whole.usage.completion_tokens == 1
