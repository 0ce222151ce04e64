"""vLLM's HTTP interface as a Granian RSGI application.

Rules:
  1. A stream begins with its first event, so that what fails before it is an ordinary error.
  2. A client that leaves ends its request: the handler is cancelled, and the engine with it.
  3. Each event of the engine is one write.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
import structlog
from granian.rsgi import ProtocolClosed, ProtocolError

from motorpool import __version__
from motorpool.modelserver import errors as bodyerrors
from motorpool.modelserver.bodies import Bodies
from motorpool.modelserver.llm.api import (
    chat,
    completions,
    errors,
    metrics,
    respond,
    responses,
    tokens,
    vectors,
)
from motorpool.modelserver.llm.api.calls import (
    JSON_TYPE,
    Call,
    Reply,
    Stream,
    body_error,
    request_id,
    send,
)
from motorpool.modelserver.llm.api.cors import headers_of, preflight
from motorpool.modelserver.llm.api.errors import RequestError
from motorpool.modelserver.llm.api.generation import Generator
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.requests import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    RerankRequest,
    ScoreRequest,
    TokenizeRequest,
    decode,
)
from motorpool.modelserver.llm.api.streaming import Head, usage
from motorpool.modelserver.llm.contract import Engine

log = structlog.get_logger("motorpool.llm")

EVENTS_TYPE = "text/event-stream; charset=utf-8"
BODY_MOST = 64 * 2**20  # a million tokens are 5 MB of text, or 8 MB of numbers
VLLM_VERSION = {"0.10": "0.10.2", "0.32": "0.32.0", "ovms": "0.10.2"}
NOT_JSON = "Unsupported Media Type: Only 'application/json' is allowed"
LARGE_BYTES = 2**15  # of a body: about 2 ms of work
QUIET_PATHS = frozenset({"/metrics", "/health", "/load", "/ping", "/version"})


P = TypeVar("P", chat.Plan, completions.Plan)


class App:
    """Serves *model*."""

    def __init__(
        self, model: Model, engine: Engine, metrics_: metrics.Metrics, *, now: Callable[[], float]
    ) -> None:
        self.is_dead = False
        self._model = model
        self._settings = model.settings
        self._engine = engine
        self._metrics = metrics_
        self._now = now
        self._generator = Generator(engine, metrics_)
        self._bodies = Bodies(BODY_MOST)
        self._root = self._settings.root_path.rstrip("/")
        self._guarded = (
            "/v1" if self._settings.generation == "0.10" else ("/v1", "/v2", "/inference")
        )
        self._routes = self._table()

    def _table(self) -> dict[str, dict[str, Callable[[Call], Awaitable[Reply | Stream]]]]:
        return {
            "/health": {"GET": self._health},
            "/ping": {"GET": self._health, "POST": self._health},
            "/version": {"GET": self._version},
            "/load": {"GET": self._load},
            "/metrics": {"GET": self._exposition},
            "/v1/models": {"GET": self._models},
            "/v1/chat/completions": {"POST": self._chat},
            "/v1/completions": {"POST": self._completion},
            "/v1/responses": {"POST": self._response},
            "/tokenize": {"POST": self._tokenize},
            "/detokenize": {"POST": self._detokenize},
            "/invocations": {"POST": self._invocation},
            **{path: {"POST": partial(self._vectors, api)} for path, api in vectors.APIS.items()},
        }

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        started_s = time.monotonic()
        path = self._path(scope)
        call = Call(scope, protocol, request_id(scope))
        call.headers = self._cors(scope)
        if self._settings.enable_request_id_headers:
            call.headers.append(("x-request-id", call.id))
        status = 499
        try:
            if scope.method == "POST":
                status = await self._while_connected(call, path)
            else:
                status = await self._worked(call, path)
        except (ProtocolClosed, ProtocolError):
            pass  # The client left.
        finally:
            if path in self._routes and path not in QUIET_PATHS:
                took_s = time.monotonic() - started_s
                self._metrics.answered(path, scope.method, status, took_s)

    def _cors(self, scope: Any) -> list[tuple[str, str]]:
        return headers_of(self._settings.cors, scope.headers.get("origin"))

    def _path(self, scope: Any) -> str:
        path: str = scope.path
        if self._root and path.startswith(f"{self._root}/"):
            path = path[len(self._root) :]
        return path

    async def _while_connected(self, call: Call, path: str) -> int:
        """The status that was sent."""
        leaving = asyncio.ensure_future(call.protocol.client_disconnect())
        working = asyncio.ensure_future(self._worked(call, path))
        try:
            await asyncio.wait({leaving, working}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                await asyncio.wait({working})
                return 499
            return working.result()
        finally:
            leaving.cancel()
            working.cancel()

    async def _worked(self, call: Call, path: str) -> int:
        try:
            reply = await self._reply(call, path)
            if isinstance(reply, Reply):
                return send(call, reply)
            return await self._stream(call, reply)
        except RequestError as error:
            return self._refused(call, error)
        except bodyerrors.InferError as error:
            return self._refused(call, body_error(error))
        except (ProtocolClosed, ProtocolError):
            raise
        except Exception:  # Our own mistake: its caller gets 500, the log the rest.
            log.exception("request failed", method=call.scope.method, path=path)
            return send(call, self._error(errors.EngineFailed("Internal server error")))

    def _refused(self, call: Call, error: RequestError) -> int:
        if isinstance(error, errors.Overloaded):
            call.headers.append(("retry-after", str(error.retry_after_s)))
        return send(call, self._error(error))

    def _error(self, error: RequestError) -> Reply:
        return Reply(errors.encode(error, self._settings.generation), error.status)

    async def _reply(self, call: Call, path: str) -> "Reply | Stream":
        method: str = call.scope.method
        if method == "OPTIONS" and call.scope.headers.get("access-control-request-method"):
            return self._preflight(call)
        if path.startswith(self._guarded) and not self._is_known(call):
            raise errors.Unauthorized
        if path.startswith("/v1/responses/"):
            raise respond.NoResponse(unquote(path.split("/")[3]))
        verbs = self._routes.get(path)
        name = unquote(path.removeprefix("/v1/models/"))
        if verbs is None and name and name != path and method == "GET":
            return self._model_card(name)
        if verbs is None:
            return self._refusal(404, "Not Found", "NotFoundError")
        endpoint = verbs.get(method)
        if endpoint is None:
            call.headers.append(("allow", ", ".join(verbs)))
            return self._refusal(405, "Method Not Allowed", "MethodNotAllowedError")
        return await endpoint(call)

    def _refusal(self, status: int, text: str, kind: str) -> Reply:
        if self._settings.generation == "0.10":
            return Reply(msgspec.json.encode({"detail": text}), status)
        document = {"message": text, "type": kind, "param": None, "code": status}
        return Reply(msgspec.json.encode({"error": document}), status)

    def _preflight(self, call: Call) -> Reply:
        status, text, headers = preflight(self._settings.cors, call.scope.headers)
        call.headers = headers
        return Reply(text.encode(), status, "text/plain; charset=utf-8")

    def _is_known(self, call: Call) -> bool:
        keys = self._settings.api_keys
        if not keys or call.scope.method == "OPTIONS":
            return True
        scheme, _, key = (call.scope.headers.get("authorization") or "").partition(" ")
        given = key.strip().encode()
        # All are compared, so that the time does not tell which one was close.
        found = [hmac.compare_digest(given, each.encode()) for each in keys]
        return scheme.lower() == "bearer" and any(found)

    async def _stream(self, call: Call, events: Stream) -> int:
        async with aclosing(events):
            first = await anext(events)
            headers = [("content-type", EVENTS_TYPE), ("cache-control", "no-cache"), *call.headers]
            transport = call.protocol.response_stream(200, headers)
            call.is_answered = True
            try:
                await transport.send_bytes(first)
                async for written in events:
                    await transport.send_bytes(written)
            except RequestError as error:
                await transport.send_bytes(errors.stream_event(error, self._settings.generation))
            except (ProtocolClosed, ProtocolError):
                return 499
            except Exception:
                log.exception("stream failed", path=call.scope.path)
                failed = errors.EngineFailed("Internal server error")
                await transport.send_bytes(errors.stream_event(failed, self._settings.generation))
            if call.last_words:
                await transport.send_bytes(call.last_words)
        return 200

    async def _body(self, call: Call) -> bytes:
        """Raises RequestError, InferError."""
        kind = (call.scope.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if kind != JSON_TYPE:
            raise errors.InvalidBody(f"['{NOT_JSON}']")
        with self._bodies.open(call.scope) as body:
            return await body.read_unpacked(
                call.protocol, call.scope.headers.get("content-encoding")
            )

    async def _health(self, call: Call) -> Reply:
        return Reply(b"", 503 if self.is_dead else 200, None)

    async def _version(self, call: Call) -> Reply:
        version = f"{VLLM_VERSION[self._settings.generation]}+motorpool.{__version__}"
        return Reply(msgspec.json.encode({"version": version}))

    async def _load(self, call: Call) -> Reply:
        return Reply(msgspec.json.encode({"server_load": self._generator.running}))

    async def _exposition(self, call: Call) -> Reply:
        body = self._metrics.exposition(self._engine.state)
        return Reply(body, content_type=metrics.CONTENT_TYPE)

    async def _models(self, call: Call) -> Reply:
        cards = [self._card(name) for name in self._settings.names]
        return Reply(msgspec.json.encode({"object": "list", "data": cards}))

    def _model_card(self, name: str) -> Reply:
        self._model.check_name(name)
        return Reply(msgspec.json.encode(self._card(name)))

    def _card(self, name: str) -> dict[str, Any]:
        root = self._settings.root
        return responses.model_card(name, root, self._model.created, self._model.max_model_len)

    async def _chat(self, call: Call) -> "Reply | Stream":
        body = await self._body(call)
        return await self.chat(decode(body, ChatRequest), call.id, large=len(body) > LARGE_BYTES)

    async def chat(self, request: ChatRequest, id: str, *, large: bool = False) -> "Reply | Stream":
        self._model.check_name(request.model)
        self._model.check_task("Chat Completions", "generate")
        head = self._head(f"chatcmpl-{request.request_id or id}")
        work = partial(chat.plan, request, self._model, head)
        plan = await self._arrived(work, large=large)
        if request.stream:
            used = usage(request.stream_options, force=self._settings.enable_force_include_usage)
            return chat.stream(plan, self._generator, used)
        return Reply(msgspec.json.encode(await chat.completion(plan, self._generator)))

    async def _response(self, call: Call) -> "Reply | Stream":
        body = await self._body(call)
        request = decode(body, respond.ResponsesRequest)
        return await self.response(request, call, large=len(body) > LARGE_BYTES)

    async def response(
        self, request: respond.ResponsesRequest, call: Call, *, large: bool = False
    ) -> "Reply | Stream":
        self._model.check_task("Responses", "generate")
        self._model.check_name(request.model)
        asked, head = (
            respond.chat_request(request),
            self._head(f"resp_{request.request_id or call.id}"),
        )
        planned = await self._arrived(partial(chat.plan, asked, self._model, head), large=large)
        plan = respond.Plan(request, planned, self._model.defaults)
        if request.stream:
            # Its last event is the last one: nothing more is said.
            call.last_words = b""
            return respond.stream(plan, self._generator)
        return Reply(msgspec.json.encode(await respond.whole(plan, self._generator)))

    async def _completion(self, call: Call) -> "Reply | Stream":
        body = await self._body(call)
        request = decode(body, CompletionRequest)
        return await self.completion(request, call.id, large=len(body) > LARGE_BYTES)

    async def completion(
        self, request: CompletionRequest, id: str, *, large: bool = False
    ) -> "Reply | Stream":
        self._model.check_name(request.model)
        self._model.check_task("Completions", "generate")
        head = self._head(f"cmpl-{request.request_id or id}")
        work = partial(completions.plan, request, self._model, head)
        plan = await self._arrived(work, large=large)
        if request.stream:
            used = usage(request.stream_options, force=self._settings.enable_force_include_usage)
            return completions.stream(plan, self._generator, used)
        return Reply(msgspec.json.encode(await completions.completion(plan, self._generator)))

    async def _arrived(self, work: Callable[[], P], *, large: bool) -> P:
        """The plan that *work* makes of a request, which counts from here on.

        A *large* prompt becomes tokens in a thread, so that others' tokens go on coming.
        """
        plan = await asyncio.to_thread(work) if large else work()
        first = plan.asks[0]
        self._metrics.arrived(plan.prompt_tokens, len(plan.asks), first.sampling.max_tokens)
        return plan

    async def _vectors(self, api: vectors.Api, call: Call) -> Reply:
        return await self.vectors(api, decode(await self._body(call), api.request), call.id)

    async def vectors(self, api: vectors.Api, request: Any, id: str) -> Reply:
        self._model.check_task(api.name, *api.tasks)
        self._model.check_name(request.model)
        made = await api.answer(request, self._model, self._engine, self._head(f"{api.id}-{id}"))
        return Reply(msgspec.json.encode(made))

    async def _tokenize(self, call: Call) -> Reply:
        request = decode(await self._body(call), TokenizeRequest)
        self._model.check_name(request.model)
        return Reply(msgspec.json.encode(tokens.tokenize(request, self._model)))

    async def _detokenize(self, call: Call) -> Reply:
        request = decode(await self._body(call), DetokenizeRequest)
        self._model.check_name(request.model)
        return Reply(msgspec.json.encode(tokens.detokenize(request, self._model)))

    async def _invocation(self, call: Call) -> "Reply | Stream":
        """SageMaker's one address: what is meant is seen by what is there."""
        body = await self._body(call)
        document = decode(body, dict)
        if "messages" in document:
            return await self.chat(decode(body, ChatRequest), call.id)
        if "prompt" in document:
            return await self.completion(decode(body, CompletionRequest), call.id)
        if "input" in document:
            return await self.vectors(vectors.EMBEDDINGS, decode(body, EmbeddingRequest), call.id)
        if "query" in document:
            return await self.vectors(vectors.RERANK, decode(body, RerankRequest), call.id)
        if "text_1" in document:
            return await self.vectors(vectors.SCORE, decode(body, ScoreRequest), call.id)
        raise RequestError(
            "Cannot find suitable handler for request. Expected one of: messages, prompt, input"
        )

    def _head(self, id: str) -> Head:
        return Head(id, int(self._now()), self._model.name, self._settings.generation)
