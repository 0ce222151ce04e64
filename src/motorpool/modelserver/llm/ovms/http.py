"""OpenVINO Model Server's generative addresses, verbs and statuses."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from motorpool import __version__
from motorpool.modelserver.llm.api import errors, respond, tokens, vectors
from motorpool.modelserver.llm.api.calls import Call, Reply, Stream, send
from motorpool.modelserver.llm.api.errors import RequestError
from motorpool.modelserver.llm.api.http import App
from motorpool.modelserver.llm.api.metrics import Metrics
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.requests import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    TokenizeRequest,
    convert,
)
from motorpool.modelserver.llm.contract import Engine
from motorpool.modelserver.llm.ovms import rules
from motorpool.modelserver.llm.ovms.flags import CHUNKS_MAX
from motorpool.modelserver.protocols import v2

# Three names of one thing: the newest server has the last as well.
PREFIXES = ("/v3", "/v3/v1", "/v1")
NO_GRAPH = "Mediapipe graph definition with requested name is not found"
NO_ADDRESS = "Invalid request URL"
NO_VERB = "Unsupported method"
CONFIG = "/v1/config"
NOT_READY = "Server is not ready"
NOT_KNOWN = "Unauthorized request due to invalid or missing api-key"

Endpoint = Callable[[Call, dict[str, Any]], Awaitable[Reply | Stream]]


class NotLoaded:
    """Answers until there is a model: alive, not ready."""

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        call = Call(scope, protocol, "")
        if scope.path in ("/v2/health/live", "/v2"):
            send(call, Reply(_about(scope.path)))
        else:
            send(call, _error(503, NOT_READY))


class Switch:
    """The application of the moment."""

    def __init__(self) -> None:
        self.app: Any = NotLoaded()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        await self.app.__rsgi__(scope, protocol)


class OvmsApp(App):
    def __init__(
        self,
        model: Model,
        engine: Engine,
        metrics_: Metrics,
        *,
        now: Callable[[], float],
        chunks_max: int = CHUNKS_MAX,
        cors: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(model, engine, metrics_, now=now)
        self._chunks_max = chunks_max
        self._cors_lines = cors

    def _cors(self, scope: Any) -> list[tuple[str, str]]:
        """The same for every request, wherever it comes from."""
        return [*self._cors_lines]

    def _table(self) -> dict[str, dict[str, Callable[[Call], Awaitable[Reply | Stream]]]]:
        model = f"/v2/models/{self._model.name}"
        table: dict[str, dict[str, Callable[[Call], Awaitable[Reply | Stream]]]] = {
            "/v2": {"GET": self._about},
            "/v2/health/live": {"GET": self._health},
            "/v2/health/ready": {"GET": self._health},
            model: {"GET": self._metadata},
            f"{model}/ready": {"GET": self._health},
            f"{model}/versions/1/ready": {"GET": self._health},
            CONFIG: {"GET": self._config},
            "/metrics": {"GET": self._exposition},
        }
        for prefix in PREFIXES:
            table[f"{prefix}/models"] = {"GET": self._listed}
            table[f"{prefix}/models/{self._model.name}"] = {"GET": self._listed_one}
            for name, endpoint in self._endpoints().items():
                table[f"{prefix}/{name}"] = {"POST": self._posted(endpoint)}
        return table

    def _endpoints(self) -> dict[str, Endpoint]:
        return {
            "chat/completions": self._ovms_chat,
            "completions": self._ovms_completion,
            "responses": self._ovms_response,
            "embeddings": self._ovms_embeddings,
            "rerank": self._ovms_ranking,
            "tokenize": self._ovms_tokenize,
        }

    async def _reply(self, call: Call, path: str) -> Reply | Stream:
        verbs = self._routes.get(path)
        if call.scope.method == "OPTIONS":
            return Reply()
        if path.startswith(("/v1/", "/v3/")) and path != CONFIG and not self._is_known(call):
            return _error(500, NOT_KNOWN)
        if verbs is None:
            return self._unknown(path)
        endpoint = verbs.get(call.scope.method)
        if endpoint is None:
            return _error(406, NO_VERB)
        return await endpoint(call)

    def _unknown(self, path: str) -> Reply:
        if path.startswith(tuple(f"{prefix}/models/" for prefix in PREFIXES)):
            return _error(500, "Model not found")
        if path.startswith(("/v3/", "/v2/models/")):
            return _error(404, NO_GRAPH)
        return _error(400, NO_ADDRESS)

    def _error(self, error: RequestError) -> Reply:
        if isinstance(error, errors.UnknownModel):
            return _error(404, NO_GRAPH)
        if error.status == 400:
            return _error(400, rules.REFUSED + error.message)
        return _error(error.status, error.message)

    def _posted(self, endpoint: Endpoint) -> Callable[[Call], Awaitable[Reply | Stream]]:
        async def answer(call: Call) -> Reply | Stream:
            if "application/json" not in (call.scope.headers.get("content-type") or ""):
                # Such a body belongs to the graph that the address names, and there is none.
                return _error(404, NO_GRAPH)
            with self._bodies.open(call.scope) as body:
                encoding = call.scope.headers.get("content-encoding")
                request = rules.document(await body.read_unpacked(call.protocol, encoding))
            self._model.check_name(request["model"])
            return await endpoint(call, request)

        return answer

    def _checked(self, request: dict[str, Any], *, chat: bool) -> dict[str, Any]:
        parses = self._settings.enable_auto_tool_choice
        return rules.checked(request, chat=chat, parses_tools=parses)

    async def _ovms_chat(self, call: Call, request: dict[str, Any]) -> Reply | Stream:
        return await self.chat(convert(self._checked(request, chat=True), ChatRequest), call.id)

    async def _ovms_completion(self, call: Call, request: dict[str, Any]) -> Reply | Stream:
        made = convert(self._checked(request, chat=False), CompletionRequest)
        if not isinstance(made.prompt, str):
            raise RequestError("prompt is not a string")
        return await self.completion(made, call.id)

    async def _ovms_response(self, call: Call, request: dict[str, Any]) -> Reply | Stream:
        return await self.response(convert(request, respond.ResponsesRequest), call)

    async def _ovms_embeddings(self, call: Call, request: dict[str, Any]) -> Reply:
        reply = await self.vectors(vectors.EMBEDDINGS, convert(request, EmbeddingRequest), call.id)
        made = msgspec.json.decode(reply.body)
        counts = {name: made["usage"][name] for name in ("prompt_tokens", "total_tokens")}
        return _document({"object": "list", "data": made["data"], "usage": counts})

    async def _ovms_ranking(self, call: Call, request: dict[str, Any]) -> Reply:
        self._model.check_task("Rerank", *vectors.RERANK.tasks)
        asked = rules.ranking(request)
        found = await vectors.best_parts(
            asked.query, asked.documents, self._model, self._engine, self._chunks_max
        )
        best = sorted(range(len(found)), key=found.__getitem__, reverse=True)[: asked.top_n]
        results: list[dict[str, Any]] = [
            {"index": index, "relevance_score": found[index]} for index in best
        ]
        if request.get("return_documents"):
            for index, each in zip(best, results, strict=True):
                each["document"] = {"text": asked.documents[index]}
        return _document({"results": results})

    async def _ovms_tokenize(self, call: Call, request: dict[str, Any]) -> Reply:
        text = request.get("text")
        if not isinstance(text, str):
            raise RequestError("text field should be a string")
        add = request.get("add_special_tokens", True) is not False
        made = TokenizeRequest(prompt=text, add_special_tokens=add)
        return _document({"tokens": tokens.tokenize(made, self._model)["tokens"]})

    async def _health(self, call: Call) -> Reply:
        return _error(503, NOT_READY) if self.is_dead else Reply()

    async def _about(self, call: Call) -> Reply:
        return Reply(_about("/v2"))

    async def _metadata(self, call: Call) -> Reply:
        """Of a graph: it has streams in the place of tensors."""
        streams: list[list[dict[str, Any]]] = [
            [{"name": name, "datatype": "INVALID", "shape": []}] for name in ("input", "output")
        ]
        about = {"name": self._model.name, "versions": ["1"], "platform": "OpenVINO"}
        return _document({**about, "inputs": streams[0], "outputs": streams[1]})

    async def _config(self, call: Call) -> Reply:
        well = {"error_code": "OK", "error_message": "OK"}
        version = {"version": "1", "state": "AVAILABLE", "status": well}
        return _document({self._model.name: {"model_version_status": [version]}})

    async def _listed(self, call: Call) -> Reply:
        return _document({"data": [self._listing()], "object": "list"})

    async def _listed_one(self, call: Call) -> Reply:
        return _document(self._listing())

    def _listing(self) -> dict[str, Any]:
        created = int(self._now())
        return {
            "id": self._model.name,
            "object": "model",
            "created": created,
            "owned_by": "OVMS",
        }


def _document(document: dict[str, Any]) -> Reply:
    return Reply(msgspec.json.encode(document))


def _error(status: int, text: str) -> Reply:
    return Reply(msgspec.json.encode({"error": text}), status)


def _about(path: str) -> bytes:
    return v2.encode_server_metadata(__version__) if path == "/v2" else b""
