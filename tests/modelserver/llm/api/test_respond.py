"""OpenAI's Responses: what a chat says in their items and events, and a client that reads them."""

import json

import openai
import pytest

from tests.modelserver.llm.api.test_http import get, post

PATH = "/v1/responses"
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Boston"}}</tool_call>'
HERMES = "--enable-auto-tool-choice", "--tool-call-parser=hermes"


def said(words, **more):
    return {"input": f"SAY[{words}]SAY", **more}


def events(answer):
    """Each with its name, which its document repeats; numbered from 0."""
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    read = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert name == f"event: {document['type']}"
        read.append(document)
    assert [each["sequence_number"] for each in read] == list(range(len(read)))
    return read


async def test_a_response_has_the_shape_of_openais(serving):
    url, _ = await serving()

    answer = (await post(url, PATH, said("Hello!", model="m", max_output_tokens=9))).json()

    assert answer["id"].startswith("resp_")
    (item,) = answer["output"]
    assert item | {"id": ""} == {
        "id": "",
        "content": [{"annotations": [], "text": "Hello!", "type": "output_text", "logprobs": None}],
        "role": "assistant",
        "status": "completed",
        "type": "message",
    }
    assert item["id"].startswith("msg_")
    assert (answer["object"], answer["status"], answer["model"]) == ("response", "completed", "m")
    assert (answer["temperature"], answer["max_output_tokens"]) == (1.0, 9)
    used = answer["usage"]
    assert used["input_tokens"] + used["output_tokens"] == used["total_tokens"]


async def test_an_answer_that_is_cut_off_is_incomplete(serving):
    url, _ = await serving()

    whole = (await post(url, PATH, said("Hello!", max_output_tokens=2))).json()
    streamed = events(await post(url, PATH, said("Hello!", max_output_tokens=2, stream=True)))

    assert whole["status"] == "incomplete"
    assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
    assert streamed[-1]["type"] == "response.completed"
    assert streamed[-1]["response"]["status"] == "incomplete"


async def test_a_stream_tells_the_same_as_the_whole(serving):
    url, _ = await serving()

    whole = (await post(url, PATH, said("Hello, you!"))).json()
    told = events(await post(url, PATH, said("Hello, you!", stream=True)))

    kinds = [each["type"].removeprefix("response.") for each in told]
    assert list(dict.fromkeys(kinds)) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    parts = [each["delta"] for each in told if each["type"] == "response.output_text.delta"]
    assert len(parts) > 1
    assert "".join(parts) == "Hello, you!"
    ended = told[-1]["response"]
    assert ended["output"][0]["content"] == whole["output"][0]["content"]
    assert ended["usage"] == whole["usage"]
    assert {each["item_id"] for each in told if "item_id" in each} == {ended["output"][0]["id"]}


async def test_thoughts_words_and_calls_are_items_of_their_own(serving):
    url, _ = await serving("--reasoning-parser=qwen3", *HERMES)
    text = f"<think>Hm.</think>I ask.{CALL}"

    whole = (await post(url, PATH, said(text, tools=[TOOL]))).json()
    told = events(await post(url, PATH, said(text, tools=[TOOL], stream=True)))

    assert [each["type"] for each in whole["output"]] == ["reasoning", "message", "function_call"]
    thoughts, words, call = whole["output"]
    assert thoughts["content"] == [{"text": "Hm.", "type": "reasoning_text"}]
    assert words["content"][0]["text"] == "I ask."
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "Boston"})

    def alike(item):
        return {name: value for name, value in item.items() if name not in ("id", "call_id")}

    assert list(map(alike, told[-1]["response"]["output"])) == list(map(alike, whole["output"]))
    arguments = [
        each["delta"] for each in told if each["type"] == "response.function_call_arguments.delta"
    ]
    assert "".join(arguments) == call["arguments"]
    added = [each for each in told if each["type"] == "response.output_item.added"]
    assert [each["output_index"] for each in added] == [0, 1, 2]
    assert added[2]["item"]["status"] == "in_progress"


async def test_earlier_turns_become_messages_of_the_chat(serving):
    url, engine = await serving("--tool-call-parser=hermes", "--enable-auto-tool-choice")
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"role": "user", "content": "SAY[ok]SAY"},
    ]

    answer = await post(url, PATH, {"input": turns, "instructions": "You help."})

    assert answer.json()["output"][0]["content"][0]["text"] == "ok"
    prompt = engine._tokenizer.decode(list(engine.asked[0].prompt), skip_special_tokens=False)
    roles = [part.split("\n")[0] for part in prompt.split("<|im_start|>")[1:]]
    assert roles == ["system", "system", "user", "assistant", "tool", "user", "assistant"]
    assert "You help." in prompt
    assert "rain" in prompt


async def test_a_schema_and_a_tool_that_must_be_called_bind_the_answer(serving):
    url, engine = await serving()
    schema = {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": True}

    await post(url, PATH, said("{}", text={"format": schema}))
    by_name = {"type": "function", "name": "weather"}
    called = await post(url, PATH, said("{}", tools=[TOOL], tool_choice=by_name))

    assert engine.asked[0].sampling.structure.text == '{"type":"object"}'
    assert engine.asked[1].sampling.structure.kind == "json"
    assert called.json()["output"][0]["type"] == "function_call"


async def test_logprobs_come_with_the_text_where_they_are_asked_for(serving):
    url, _ = await serving()
    asked = said("ab", include=["message.output_text.logprobs"])

    whole = (await post(url, PATH, asked)).json()["output"][0]["content"][0]
    told = events(await post(url, PATH, asked | {"stream": True}))

    assert [each["logprob"] for each in whole["logprobs"]][:1] == [-0.5]
    assert told[-1]["response"]["output"][0]["content"][0]["logprobs"] == whole["logprobs"]


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({"previous_response_id": "resp_1"}, 404, "Response with id 'resp_1' not found."),
        ({"background": True}, 400, "background mode is not supported"),
        ({"conversation": "c"}, 400, "conversation is not supported"),
        ({"prompt": {"id": "p"}}, 400, "prompt template is not supported"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools[0]: tools of type 'web_search'"),
        ({"tools": [TOOL]}, 400, '"auto" tool choice requires'),
        ({"input": [{"type": "item_reference"}]}, 400, "input[0]: items of type 'item_reference'"),
        ({"input": 1}, 400, "'input'"),
        ({"top_logprobs": 3}, 400, "top_logprobs=3"),
        ({"model": "other"}, 404, "The model `other` does not exist."),
    ],
)
async def test_what_cannot_be_answered_is_refused(serving, more, status, text):
    url, _ = await serving()

    refused = await post(url, PATH, {"input": "x", **more})

    assert refused.status_code == status
    assert text in refused.json()["message"]


async def test_nothing_is_kept(serving):
    url, _ = await serving()

    kept = await get(url, f"{PATH}/resp_1")
    cancelled = await post(url, f"{PATH}/resp_1/cancel", {})

    for each in (kept, cancelled):
        assert each.status_code == 404
        assert each.json()["message"] == "Response with id 'resp_1' not found."


async def test_what_fails_in_the_middle_is_the_last_event(serving):
    url, _ = await serving()

    answer = await post(url, PATH, said("some words FAIL", stream=True))

    last = json.loads(answer.text.rstrip().rpartition("\n\n")[2].removeprefix("data: "))
    assert last["error"]["message"] == "the grammar cannot be compiled"


@pytest.fixture(scope="module")
def client(program):
    with openai.OpenAI(base_url=f"{program.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.slow
def test_the_client_reads_the_same_whole_and_streamed(client):
    asked = {"model": "tiny", "input": "Hello?", "temperature": 0, "max_output_tokens": 20}

    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        parts = [each.delta for each in stream if each.type == "response.output_text.delta"]
        streamed = stream.get_final_response()

    assert whole.output_text == streamed.output_text == "".join(parts) != ""
    assert whole.status == streamed.status == "incomplete"
    assert whole.usage == streamed.usage
    assert whole.usage.output_tokens == 20


@pytest.mark.slow
def test_the_client_gets_a_call_that_is_required(client):
    asked = {"model": "tiny", "input": "Hello?", "tools": [TOOL], "tool_choice": "required"}

    (call,) = client.responses.create(**asked, temperature=0, max_output_tokens=200).output

    assert (call.type, call.name) == ("function_call", "weather")
    assert call.call_id
