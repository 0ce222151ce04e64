"""Tools and thoughts over HTTP; the engine says what the test tells it to."""

import contextlib
import json
import ssl
import subprocess

import httpx
import openai
import pytest

from tests.modelserver.llm.api.test_http import CHAT, events, post, said

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "clock")
]
CALLS = (
    'Let me see. <tool_call>{"name": "weather", "arguments": {"city": "Bern"}}</tool_call>'
    '<tool_call>{"name": "clock"}</tool_call>'
)
FLAGS = ("--enable-auto-tool-choice", "--tool-call-parser=hermes", "--reasoning-parser=qwen3")


@contextlib.asynccontextmanager
async def client(serving, *flags):
    url, _ = await serving(*flags, max_model_len=4096)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        yield made


async def test_calls_come_whole_and_streamed(serving):
    async with client(serving, *FLAGS) as made:
        asked = {**said(CALLS), "model": "m", "tools": TOOLS}
        whole = (await made.chat.completions.create(**asked)).choices[0]
        stream = await made.chat.completions.create(**asked, stream=True)
        chunks = [each async for each in stream]

    assert whole.finish_reason == chunks[-1].choices[0].finish_reason == "tool_calls"
    assert whole.message.content == "Let me see."
    calls = [(each.function.name, each.function.arguments) for each in whole.message.tool_calls]
    assert calls == [("weather", '{"city": "Bern"}'), ("clock", "{}")]
    assert joined(chunks) == ("Let me see.", calls)
    ids = [each.id for each in whole.message.tool_calls]
    assert len(set(ids)) == 2
    assert all(each.startswith("chatcmpl-tool-") for each in ids)


def joined(chunks):
    content, calls = "", []
    for chunk in chunks:
        delta = chunk.choices[0].delta
        content += delta.content or ""
        for call in delta.tool_calls or []:
            if call.id:
                assert call.index == len(calls)
                calls.append([call.function.name, ""])
            calls[call.index][1] += call.function.arguments
    return content, [tuple(each) for each in calls]


async def test_only_one_call_where_they_may_not_be_parallel(serving):
    async with client(serving, *FLAGS) as made:
        asked = {**said(CALLS), "model": "m", "tools": TOOLS, "parallel_tool_calls": False}
        whole = (await made.chat.completions.create(**asked)).choices[0]
        chunks = [each async for each in await made.chat.completions.create(**asked, stream=True)]

    assert [each.function.name for each in whole.message.tool_calls] == ["weather"]
    assert [name for name, _ in joined(chunks)[1]] == ["weather"]


async def test_a_call_that_is_broken_is_text(serving):
    async with client(serving, *FLAGS) as made:
        broken = '<tool_call>{"name": "f", "arguments": {"a" 1}}</tool_call>'
        asked = {**said(broken), "model": "m", "tools": TOOLS}
        whole = (await made.chat.completions.create(**asked)).choices[0]

    assert (whole.message.content, whole.finish_reason) == (broken, "stop")


async def test_no_call_is_read_where_none_may_be_made(serving):
    async with client(serving, *FLAGS) as made:
        asked = {**said(CALLS), "model": "m", "tools": TOOLS, "tool_choice": "none"}
        whole = (await made.chat.completions.create(**asked)).choices[0]

    assert whole.message.content == CALLS


async def test_a_named_call_is_what_the_old_generation_calls_a_stop(serving):
    named = {"type": "function", "function": {"name": "clock"}}
    for flags, reason in (((), "stop"), (("--vllm-generation=0.32",), "tool_calls")):
        async with client(serving, *flags) as made:
            asked = {**said('{"a": 1}'), "model": "m", "tools": TOOLS, "tool_choice": named}
            whole = (await made.chat.completions.create(**asked)).choices[0]
        assert whole.finish_reason == reason
        (call,) = whole.message.tool_calls
        assert (call.function.name, call.function.arguments) == ("clock", '{"a": 1}')


async def test_a_required_call_asks_the_engine_for_a_list_of_calls(serving):
    url, engine = await serving()
    answer = '[{"name": "clock", "parameters": {"a": 1}}]'

    told = await post(url, CHAT, said(answer, tools=TOOLS, tool_choice="required"))

    (call,) = told.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "clock", "arguments": '{"a": 1}'}
    schema = json.loads(engine.asked[0].sampling.structure.text)
    assert schema["type"] == "array"
    names = [each["properties"]["name"]["enum"] for each in schema["items"]["anyOf"]]
    assert names == [["weather"], ["clock"]]


async def test_what_was_cut_off_before_its_first_call_is_no_text(serving):
    url, _ = await serving()
    asked = said('[  {"na', tools=TOOLS, tool_choice="required", max_tokens=4)

    whole = (await post(url, CHAT, asked)).json()["choices"][0]
    chunks = events(await post(url, CHAT, asked | {"stream": True}))

    assert (whole["message"]["tool_calls"], whole["finish_reason"]) == ([], "length")
    assert not whole["message"]["content"]
    assert not any(each["choices"][0]["delta"].get("content") for each in chunks)


@pytest.mark.parametrize("choice", ["auto", "required", "none"])
async def test_of_no_tools_none_is_called(serving, choice):
    url, _ = await serving()

    answer = await post(url, CHAT, said("Hello!", tools=[], tool_choice=choice))

    assert answer.json()["choices"][0]["message"]["content"] == "Hello!"


THOUGHT = "<think>hm, 1 < 2</think>Yes. " + CALLS


@pytest.mark.parametrize(
    ("generation", "field"), [("0.10", "reasoning_content"), ("0.32", "reasoning")]
)
async def test_thoughts_are_apart_by_the_generations_own_name(serving, generation, field):
    url, _ = await serving(*FLAGS, f"--vllm-generation={generation}", max_model_len=4096)

    whole = (await post(url, CHAT, said(THOUGHT, tools=TOOLS))).json()["choices"][0]["message"]
    chunks = events(await post(url, CHAT, said(THOUGHT, tools=TOOLS, stream=True)))
    hidden = (await post(url, CHAT, said(THOUGHT, include_reasoning=False))).json()

    assert whole[field] == "hm, 1 < 2"
    assert whole["content"] == "Yes. Let me see."
    assert len(whole["tool_calls"]) == 2
    deltas = [each["choices"][0]["delta"] for each in chunks]
    assert "".join(each.get(field, "") for each in deltas) == whole[field]
    assert "".join(each.get("content", "") for each in deltas) == whole["content"]
    assert hidden["choices"][0]["message"][field] is None


async def test_the_newer_generation_leaves_out_calls_that_are_none(serving):
    url, _ = await serving("--vllm-generation=0.32")

    answer = (await post(url, CHAT, said("x"))).json()

    assert list(answer["choices"][0]["message"]) == [
        "role", "content", "refusal", "annotations", "audio", "function_call", "reasoning",
    ]  # fmt: skip
    assert answer["prompt_token_ids"] is None


async def test_an_answer_goes_on_with_the_last_message(serving):
    url, _ = await serving()
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "SAY[b]SAY"}]
    more = {"add_generation_prompt": False, "continue_final_message": True, "echo": True}

    answer = (await post(url, CHAT, {"messages": messages, **more})).json()

    assert answer["choices"][0]["message"] == answer["choices"][0]["message"] | {
        "role": "assistant",
        "content": "SAY[b]SAYb",
    }
    both = {"messages": messages, "continue_final_message": True}
    assert "Cannot set both" in (await post(url, CHAT, both)).json()["message"]


async def test_a_template_of_the_request_needs_to_be_trusted(serving):
    own = said("x", chat_template="{{ messages[0].content }}{{ word }}")
    own["chat_template_kwargs"] = {"word": "SAY[own]SAY"}

    url, _ = await serving()
    refused = await post(url, CHAT, own)
    url, _ = await serving("--trust-request-chat-template")
    taken = await post(url, CHAT, own)

    assert refused.status_code == 400
    assert "--trust-request-chat-template" in refused.json()["message"]
    assert taken.json()["choices"][0]["message"]["content"] == "own"


async def test_a_template_of_the_command_line_takes_the_place_of_the_checkpoints(serving, tmp_path):
    file = tmp_path / "t.jinja"
    file.write_text("{{ messages[-1].content }}")

    lengths = []
    for flags in ((), (f"--chat-template={file}",), ("--chat-template={{ 'abc' }}",)):
        url, _ = await serving(*flags)
        tokens = await post(url, "/tokenize", {"messages": [{"role": "user", "content": "xyz"}]})
        lengths.append(tokens.json()["count"])

    assert lengths[0] > lengths[1] == lengths[2] == 3


async def test_defaults_of_sampling_are_the_command_lines(serving):
    url, engine = await serving(
        "--override-generation-config", '{"temperature": 0.5, "top_k": 7, "max_new_tokens": 3}'
    )

    answer = (await post(url, CHAT, said("abcdefgh"))).json()
    await post(url, CHAT, said("x", temperature=0.25))

    first, second = (each.sampling for each in engine.asked)
    assert (first.temperature, first.top_k, first.max_tokens) == (0.5, 7, 3)
    assert second.temperature == 0.25
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.fixture
def certificate(tmp_path):
    key, file = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
               "-keyout", str(key), "-out", str(file)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return key, file


async def test_an_answer_over_tls(serving, certificate):
    key, file = certificate
    url, _ = await serving(f"--ssl-keyfile={key}", f"--ssl-certfile={file}")

    context = ssl.create_default_context(cafile=str(file))
    async with httpx.AsyncClient(verify=context) as made:
        answer = await made.get(url.replace("http:", "https:") + "/health")

    assert answer.status_code == 200
