"""The interface over HTTP, with an engine that says what the test tells it to."""

import asyncio
import json

import httpx
import pytest

CHAT = "/v1/chat/completions"


def said(text, **more):
    return {"messages": [{"role": "user", "content": f"SAY[{text}]SAY"}], **more}


async def post(url, path, document, **options):
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        return await client.post(path, json=document, **options)


async def get(url, path, **options):
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        return await client.get(path, **options)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def events(answer):
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


async def test_a_chat_is_answered_in_the_shape_of_vllm_0_10(serving):
    url, _ = await serving()

    answer = (await post(url, CHAT, said("Hello!", model="m"))).json()

    assert answer["id"].startswith("chatcmpl-")
    assert answer | {"id": "", "usage": {}} == {
        "id": "",
        "object": "chat.completion",
        "created": 1_755_189_746,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello!",
                    "refusal": None,
                    "annotations": None,
                    "audio": None,
                    "function_call": None,
                    "tool_calls": [],
                    "reasoning_content": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
            }
        ],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": {},
        "prompt_logprobs": None,
        "kv_transfer_params": None,
    }
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_stream_says_what_the_whole_answer_says(serving):
    url, _ = await serving()

    answer = await post(
        url, CHAT, said("héllo 中文 🎉", stream=True, stream_options={"include_usage": True})
    )

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    first, *rest, last, used = events(answer)
    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert "".join(each["choices"][0]["delta"]["content"] for each in rest) == "héllo 中文 🎉"
    assert last["choices"][0] | {"delta": {}} == {
        "index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop", "stop_reason": None,
    }  # fmt: skip
    assert used["choices"] == []
    assert used["usage"]["completion_tokens"] > 5


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_string_ends_the_answer_and_cancels_its_generation(serving, stream):
    url, engine = await serving()

    answer = await post(url, CHAT, said("one STOP two", stop=["STOP"], stream=stream))

    if stream:
        chunks = [each["choices"][0] for each in events(answer)]
        text = "".join(each["delta"].get("content", "") for each in chunks)
        last = chunks[-1]
    else:
        last = answer.json()["choices"][0]
        text = last["message"]["content"]
    assert text == "one "
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", "STOP")
    assert len(engine.cancelled) == 1


async def test_each_of_n_answers_has_a_seed_of_its_own(serving):
    url, engine = await serving()

    answer = (await post(url, CHAT, said("x", n=3, seed=5))).json()

    assert [each["index"] for each in answer["choices"]] == [0, 1, 2]
    assert sorted(each.sampling.seed for each in engine.asked) == [5, 6, 7]


async def test_whoever_leaves_takes_the_generation_with_it(serving):
    url, engine = await serving()

    async with (
        httpx.AsyncClient(base_url=url) as client,
        client.stream("POST", CHAT, json=said("a STALL", stream=True)) as stream,
    ):
        await anext(stream.aiter_lines())
        assert len(engine.running) == 1

    await until(lambda: not engine.running)
    assert len(engine.cancelled) == 1


async def test_whoever_does_not_wait_for_a_whole_answer_cancels_it_too(serving):
    url, engine = await serving()

    asking = asyncio.create_task(post(url, CHAT, said("STALL", n=2)))
    await until(lambda: len(engine.running) == 2)
    asking.cancel()

    await until(lambda: not engine.running)
    assert len(engine.cancelled) == 2


async def test_what_fails_before_the_first_event_is_an_ordinary_error(serving):
    url, engine = await serving()
    await engine.stop()

    answer = await post(url, CHAT, said("x", stream=True))

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/json"


async def test_what_fails_in_the_middle_of_a_stream_is_its_last_event(serving):
    url, _ = await serving()

    answer = await post(url, CHAT, said("abc FAIL", stream=True))

    *_, last = events(answer)
    assert last == {
        "error": {
            "object": "error",
            "message": "the grammar cannot be compiled",
            "type": "InternalServerError",
            "param": None,
            "code": 500,
        }
    }


async def test_a_failed_answer_is_a_500(serving):
    url, _ = await serving()

    answer = await post(url, CHAT, said("FAIL"))

    assert (answer.status_code, answer.json()["type"]) == (500, "InternalServerError")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 2])
async def test_when_too_many_wait_the_next_is_told_when_to_come_again(serving, stream, n):
    url, _ = await serving()

    answer = await post(url, CHAT, said("BUSY", stream=stream, n=n))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {
        "object": "error",
        "message": "The server is overloaded: 7 requests are waiting already, as many as may. "
        "Please retry later.",
        "type": "ServiceUnavailableError",
        "param": None,
        "code": 503,
    }
    assert (await post(url, CHAT, said("abc"))).status_code == 200


async def test_an_engine_that_ends_fails_what_was_running(serving):
    url, _ = await serving()

    stalled = asyncio.create_task(post(url, CHAT, said("STALL")))
    await post(url, CHAT, said("DIE"))
    answer = await stalled

    assert answer.status_code == 500
    assert answer.json()["message"] == "EngineDeadError: exit code -9; its last words: Killed"


ERRORS = {
    "unknown model": ({"model": "nope"}, 404, "The model `nope` does not exist."),
    "temperature": ({"temperature": -1.0}, 400, "temperature must be non-negative, got -1.0."),
    "top_p": ({"top_p": 0}, 400, "top_p must be in (0, 1], got 0.0."),
    "top_k": ({"top_k": -2}, 400, "top_k must be 0 (disable), or at least 1, got -2."),
    "n": ({"n": 0}, 400, "n must be at least 1, got 0."),
    "greedy n": (
        {"n": 2, "temperature": 0},
        400,
        "n must be 1 when using greedy sampling, got 2.",
    ),
    "max_tokens": ({"max_tokens": 0}, 400, "max_tokens must be at least 1, got 0."),
    "stop": ({"stop": ["a", ""]}, 400, "stop cannot contain an empty string."),
    "logit_bias": ({"logit_bias": {"5": 1}}, 400, "logit_bias is not supported by this engine"),
    "beams": ({"use_beam_search": True}, 400, "beam search is not supported by this engine"),
    "prompt_logprobs": (
        {"prompt_logprobs": 0},
        400,
        "prompt_logprobs are not given by this engine",
    ),
    "logprobs": (
        {"logprobs": True, "top_logprobs": 21},
        400,
        "Requested sample logprobs of 21, which is greater than max allowed: 20",
    ),
    "no tools": (
        {"tool_choice": "required"},
        400,
        "When using `tool_choice`, `tools` must be set.",
    ),
    "tool choice": (
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        400,
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ),
    "missing": (
        {"messages": None},
        400,
        (
            "[{'type': 'value_error', 'loc': ('body', 'messages'), "
            "'msg': 'Expected `array`, got `null`'}]"
        ),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_a_wrong_request_is_refused_in_vllms_words(serving, name):
    url, engine = await serving()
    more, status, message = ERRORS[name]

    answer = await post(url, CHAT, said("x") | more)

    assert answer.status_code == status
    assert answer.json()["message"] == message
    assert not engine.asked


async def test_a_prompt_that_leaves_no_room_is_refused(serving):
    url, _ = await serving(max_model_len=64)
    prompt = {"messages": [{"role": "user", "content": "x" * 40}]}

    answer = await post(url, CHAT, prompt | {"max_tokens": 60})
    length = answer.json()["message"].partition("(")[2].partition(" ")[0]

    assert answer.json()["message"] == (
        f"This model's maximum context length is 64 tokens. However, you requested "
        f"{int(length) + 60} tokens ({length} in the messages, 60 in the completion). "
        "Please reduce the length of the messages or completion."
    )
    assert (await post(url, CHAT, prompt)).json()["usage"]["total_tokens"] == 64


async def test_errors_of_the_newer_generation_stand_under_error(serving):
    url, _ = await serving("--vllm-generation", "0.32")

    answer = await post(url, CHAT, said("x", model="nope"))

    assert answer.json() == {
        "error": {
            "message": "The model `nope` does not exist.",
            "type": "NotFoundError",
            "param": "model",
            "code": 404,
        }
    }


async def test_what_is_no_json_is_refused(serving):
    url, _ = await serving()
    async with httpx.AsyncClient(base_url=url) as client:
        form = await client.post(CHAT, data={"a": "b"})
        broken = await client.post(
            CHAT, content=b"{", headers={"content-type": "application/json; charset=utf-8"}
        )
        deep = await client.post(
            CHAT, content=b"[" * 10_000, headers={"content-type": "application/json"}
        )
    assert form.status_code == broken.status_code == deep.status_code == 400
    assert "Only 'application/json' is allowed" in form.json()["message"]
    assert "json_invalid" in broken.json()["message"]


async def test_addresses_and_verbs_that_are_none(serving):
    url, _ = await serving()

    assert (await get(url, "/nope")).json() == {"detail": "Not Found"}
    wrong = await get(url, CHAT)
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert wrong.headers["allow"] == "POST"


async def test_small_answers(serving):
    url, _ = await serving()

    health = await get(url, "/health")
    assert (health.status_code, health.content) == (200, b"")
    assert (await post(url, "/ping", {})).status_code == 200
    assert (await get(url, "/load")).json() == {"server_load": 0}
    assert (await get(url, "/version")).json()["version"].startswith("0.10.")
    models = (await get(url, "/v1/models")).json()
    assert [each["id"] for each in models["data"]] == ["m", "m2"]
    assert models["data"][0]["max_model_len"] == 512
    assert (await get(url, "/v1/models/m2")).json()["id"] == "m2"
    assert (await get(url, "/v1/models/nope")).status_code == 404


async def test_keys_guard_v1_and_nothing_else(serving):
    url, _ = await serving("--api-key", "one", "two")

    refused = await get(url, "/v1/models")
    assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    for key, status in (("two", 200), ("three", 401), ("tw", 401)):
        answer = await get(url, "/v1/models", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status
    assert (await get(url, "/health")).status_code == 200
    assert (await post(url, "/tokenize", {"prompt": "x"})).status_code == 200


async def test_pages_of_other_origins_may_read_the_answers(serving):
    url, _ = await serving()
    async with httpx.AsyncClient(base_url=url) as client:
        asked = await client.options(
            CHAT,
            headers={
                "origin": "https://x.test",
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type",
            },
        )
        plain = await client.get("/version", headers={"origin": "https://x.test"})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-headers"] == "content-type"
    assert plain.headers["access-control-allow-origin"] == "*"


async def test_tokenize_and_back(serving):
    url, _ = await serving()

    answer = (await post(url, "/tokenize", {"prompt": "héllo", "return_token_strs": True})).json()
    back = (await post(url, "/detokenize", {"tokens": answer["tokens"]})).json()

    assert back == {"prompt": "héllo"}
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert answer["max_model_len"] == 512
    wrong = await post(url, "/detokenize", {"tokens": [-1]})
    assert wrong.status_code == 400


async def test_a_completion_of_several_prompts_has_choices_in_their_order(serving):
    url, _ = await serving()

    answer = (
        await post(
            url, "/v1/completions", {"prompt": ["SAY[a]SAY", "SAY[b]SAY"], "n": 2, "echo": True}
        )
    ).json()

    texts = [each["text"] for each in answer["choices"]]
    assert texts == ["SAY[a]SAYa", "SAY[a]SAYa", "SAY[b]SAYb", "SAY[b]SAYb"]
    assert [each["index"] for each in answer["choices"]] == [0, 1, 2, 3]
    assert answer["object"] == "text_completion"


async def test_a_completion_has_16_tokens_unless_told_otherwise(serving):
    url, _ = await serving()

    answer = (await post(url, "/v1/completions", {"prompt": "count"})).json()
    echo = (
        await post(url, "/v1/completions", {"prompt": "count", "echo": True, "max_tokens": 0})
    ).json()

    assert answer["usage"]["completion_tokens"] == 16
    assert answer["choices"][0]["finish_reason"] == "length"
    assert echo["choices"][0]["text"] == "count"


async def test_a_streamed_completion(serving):
    url, _ = await serving()

    answer = await post(
        url,
        "/v1/completions",
        {
            "prompt": "SAY[abc def]SAY",
            "stream": True,
            "logprobs": 0,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        },
    )

    *chunks, used = events(answer)
    assert "".join(each["choices"][0]["text"] for each in chunks) == "abc def"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[0]["choices"][0]["logprobs"]["token_logprobs"] == [-0.5]
    assert chunks[0]["usage"]["completion_tokens"] == 1
    assert used["choices"] == []


async def test_logprobs_are_those_of_the_chosen_tokens(serving):
    url, _ = await serving()

    answer = (await post(url, CHAT, said("ab", logprobs=True))).json()
    many = await post(url, CHAT, said("ab", logprobs=True, top_logprobs=5))
    greedy = await post(url, CHAT, said("ab", logprobs=True, top_logprobs=1, temperature=0))

    first = answer["choices"][0]["logprobs"]["content"][0]
    assert (first["token"], first["logprob"], first["top_logprobs"]) == ("a", -0.5, [])
    assert first["bytes"] == [97]
    assert many.status_code == 400
    assert "top_logprobs=5: this engine gives" in many.json()["message"]
    top = greedy.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert [each["token"] for each in top] == ["a"]


async def test_embeddings_of_a_model_for_them(serving):
    url, _ = await serving(task="embed")

    answer = (await post(url, "/v1/embeddings", {"input": ["abc", "d"], "model": "m"})).json()
    encoded = (
        await post(url, "/v1/embeddings", {"input": "abc", "encoding_format": "base64"})
    ).json()
    chat = await post(url, CHAT, said("x"))
    refused = await post(url, "/v1/embeddings", {"input": "x" * 200})

    assert refused.status_code == 400
    assert refused.json()["message"] == "a prompt of more than 100 tokens cannot be embedded"
    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert answer["data"][0]["embedding"][1:] == [0.5, -0.25]
    assert isinstance(encoded["data"][0]["embedding"], str)
    assert chat.json()["message"] == "The model does not support Chat Completions API"


async def test_metrics_have_vllms_names(serving):
    url, _ = await serving()
    await post(url, CHAT, said("abc"))

    lines = (await get(url, "/metrics")).text.splitlines()

    labels = 'engine="0",model_name="m"'
    assert f"vllm:num_requests_running{{{labels}}} 0.0" in lines
    assert f"vllm:kv_cache_usage_perc{{{labels}}} 0.25" in lines
    assert (
        'vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 1.0' in lines
    )
    assert f"vllm:time_to_first_token_seconds_count{{{labels}}} 1.0" in lines
    assert f'vllm:e2e_request_latency_seconds_bucket{{{labels},le="+Inf"}} 1.0' in lines
    assert (
        'http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"} 1.0'
        in lines
    )


async def test_an_invocation_is_what_it_looks_like(serving):
    url, _ = await serving()

    chat = (await post(url, "/invocations", said("abc"))).json()
    text = (await post(url, "/invocations", {"prompt": "SAY[abc]SAY"})).json()

    assert chat["object"] == "chat.completion"
    assert text["object"] == "text_completion"
    assert (await post(url, "/invocations", {})).status_code == 400


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(serving):
    url, _ = await serving()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))

    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 100000000\r\n\r\n{"
    )
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 413 ")
