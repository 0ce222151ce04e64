"""What can go wrong with a request, in vLLM's words; knows the status, as vLLM's own errors do.

RequestError           400 BadRequestError
    InvalidBody        400, whose type the newer generation calls by the status' name
    Unauthorized       401
    UnknownModel       404 NotFoundError
    NotSupported       400 BadRequestError, of what this engine cannot do
    TooLarge           413
    TooSlow            408
    Overloaded         503 ServiceUnavailableError
EngineFailed           500 InternalServerError
"""

from typing import Any, Literal

import msgspec

from motorpool.modelserver.llm.contract import EngineBusy, EngineDead

Generation = Literal["0.10", "0.32", "ovms"]
"""Whose shapes the answers have: vLLM's of 0.10 and before, its newer ones, or OpenVINO Model
Server's."""


LAST_WORDS_MAX = 200


class RequestError(Exception):
    status = 400
    type = "BadRequestError"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidBody(RequestError):
    pass


class Unauthorized(RequestError):
    status = 401

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class UnknownModel(RequestError):
    status = 404
    type = "NotFoundError"

    def __init__(self, name: str) -> None:
        super().__init__(f"The model `{name}` does not exist.", "model")


class NotSupported(RequestError):
    pass


class TooLarge(RequestError):
    status = 413


class TooSlow(RequestError):
    status = 408


class Overloaded(RequestError):
    status = 503
    type = "ServiceUnavailableError"
    retry_after_s = 1


class EngineFailed(RequestError):
    status = 500
    type = "InternalServerError"


def engine_dead(error: EngineDead) -> EngineFailed:
    """For a client; all of the engine's last words are in the log."""
    line = next(iter(str(error).splitlines()), "")
    return EngineFailed(f"EngineDeadError: {line[:LAST_WORDS_MAX]}")


def engine_busy(error: EngineBusy) -> Overloaded:
    return Overloaded(f"The server is overloaded: {error}. Please retry later.")


def document(error: RequestError, generation: Generation) -> dict[str, Any]:
    if isinstance(error, Unauthorized) or generation == "ovms":
        return {"error": error.message}
    if generation == "0.10":
        return {
            "object": "error",
            "message": error.message,
            "type": error.type,
            "param": None,  # it never fills it
            "code": error.status,
        }
    return {
        "error": {
            "message": error.message,
            "type": "Bad Request" if isinstance(error, InvalidBody) else error.type,
            "param": error.param,
            "code": error.status,
        }
    }


def encode(error: RequestError, generation: Generation) -> bytes:
    return msgspec.json.encode(document(error, generation))


def stream_event(error: RequestError, generation: Generation) -> bytes:
    """The last data of a stream that fails; under `error` in both generations."""
    body = document(error, generation)
    return b"data: " + msgspec.json.encode({"error": body.get("error", body)}) + b"\n\n"
