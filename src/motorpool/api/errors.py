"""Everything that the Kubernetes API refuses, as exceptions that carry a ``metav1.Status``. Pure.

ApiError
    BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404 · MethodNotAllowed 405
    NotAcceptable 406 · AlreadyExists 409 · Conflict 409 · Expired 410 · RequestEntityTooLarge 413
    UnsupportedMediaType 415 · Invalid 422 · TooManyRequests 429 · InternalError 500
    Unclassified 500 · ServiceUnavailable 503 · Timeout 504

The same tree is raised by both clients, whatever stood between them and the server.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from motorpool.api.meta import Object


class FieldError(NamedTuple):
    """One reason why an object is invalid, as Kubernetes' ``field.Error``.

    *reason* is a cause reason such as ``FieldValueInvalid``; *detail* is the text after the path,
    such as ``Invalid value: "x": must be no more than 63 characters``.
    """

    path: str
    reason: str
    detail: str

    @classmethod
    def required(cls, path: str, text: str = "") -> "FieldError":
        return cls(path, "FieldValueRequired", "Required value" + (f": {text}" if text else ""))

    @classmethod
    def invalid(cls, path: str, value: Any, text: str) -> "FieldError":
        return cls(path, "FieldValueInvalid", f"Invalid value: {_quoted(value)}: {text}")

    @classmethod
    def not_supported(cls, path: str, value: Any, supported: Sequence[str]) -> "FieldError":
        names = ", ".join(f'"{name}"' for name in sorted(supported))
        detail = f"Unsupported value: {_quoted(value)}: supported values: {names}"
        return cls(path, "FieldValueNotSupported", detail)

    @classmethod
    def forbidden(cls, path: str, text: str) -> "FieldError":
        return cls(path, "FieldValueForbidden", f"Forbidden: {text}")

    @classmethod
    def wrong_type(cls, path: str, value: Any, text: str) -> "FieldError":
        return cls(path, "FieldValueTypeInvalid", f"Invalid value: {_quoted(value)}: {text}")

    @classmethod
    def too_long(cls, path: str, limit_bytes: int) -> "FieldError":
        return cls(path, "FieldValueTooLong", f"Too long: may not be more than {limit_bytes} bytes")

    @classmethod
    def too_many(cls, path: str, count: int, limit: int) -> "FieldError":
        text = f"Too many: {count}: must have at most {limit} items"
        return cls(path, "FieldValueTooMany", text)

    @classmethod
    def not_found(cls, path: str, value: Any) -> "FieldError":
        return cls(path, "FieldValueNotFound", f"Not found: {_quoted(value)}")

    @classmethod
    def duplicate(cls, path: str, value: Any) -> "FieldError":
        return cls(path, "FieldValueDuplicate", f"Duplicate value: {_quoted(value)}")

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class GoValue(str):
    """A value already in the form in which Go prints it, such as ``map[string]string{}``."""

    __slots__ = ()


def _quoted(value: Any) -> str:
    import json

    if isinstance(value, GoValue):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class ApiError(Exception):
    """A refusal with the server's own words. ``str(error)`` is the message that kubectl prints."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"
    has_details: ClassVar[bool] = False
    """Whether there are details that say nothing, where nothing is known: clients look into them
    without asking (``kubectl debug`` does)."""

    def __init__(
        self, message: str, *, details: Object | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.details = details
        self.retry_after_s = retry_after_s

    def status(self) -> Object:
        """The ``metav1.Status`` of this refusal."""
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
        }
        if self.reason:
            status["reason"] = self.reason
        details = dict(self.details or {})
        if self.retry_after_s is not None:
            details["retryAfterSeconds"] = self.retry_after_s
        if details or self.has_details:
            status["details"] = details
        status["code"] = self.code
        return status


class BadRequest(ApiError):
    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    code = 404
    reason = "NotFound"
    has_details = True


class MethodNotAllowed(ApiError):
    code = 405
    reason = "MethodNotAllowed"
    has_details = True


class NotAcceptable(ApiError):
    code = 406
    reason = "NotAcceptable"
    has_details = True


class AlreadyExists(ApiError):
    code = 409
    reason = "AlreadyExists"


class Conflict(ApiError):
    code = 409
    reason = "Conflict"


class Expired(ApiError):
    """The revision asked for is compacted: list again, or go on from *continue_* as it is now."""

    code = 410
    reason = "Expired"

    def __init__(
        self,
        message: str,
        *,
        details: Object | None = None,
        retry_after_s: int | None = None,
        continue_: str = "",
    ) -> None:
        super().__init__(message, details=details, retry_after_s=retry_after_s)
        self.continue_ = continue_

    def status(self) -> Object:
        status = super().status()
        if self.continue_:
            status["metadata"] = {"continue": self.continue_}
        return status


class RequestEntityTooLarge(ApiError):
    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code = 415
    reason = "UnsupportedMediaType"
    has_details = True


class Invalid(ApiError):
    code = 422
    reason = "Invalid"


class TooManyRequests(ApiError):
    code = 429
    reason = "TooManyRequests"


class InternalError(ApiError):
    pass


class Unclassified(ApiError):
    """A 500 to which Kubernetes gives no reason: a patch that cannot be carried out."""

    code = 500
    reason = ""


class ServiceUnavailable(ApiError):
    code = 503
    reason = "ServiceUnavailable"


class Timeout(ApiError):
    code = 504
    reason = "Timeout"


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> Invalid:
    """The 422 that names every field error of one object, in the server's form."""
    qualified = f"{kind}.{group}" if group else kind
    texts = [str(error) for error in errors]
    listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    causes = [{"reason": e.reason, "message": e.detail, "field": e.path} for e in errors]
    details: Object = {"name": name, "group": group, "kind": kind, "causes": causes}
    details = {key: value for key, value in details.items() if value}
    return Invalid(f'{qualified} "{name}" is invalid: {listed}', details=details)


def of_status(status: Object) -> ApiError:
    """The exception for a Status that came over the wire."""
    code = int(status.get("code") or 500)
    reason = str(status.get("reason") or "")
    known = ApiError.__subclasses__()
    exact = [cls for cls in known if (cls.code, cls.reason) == (code, reason)]
    alike = [cls for cls in known if cls.code == code]
    cls = next(iter([*exact, *alike]), InternalError)
    details = status.get("details")
    after_s = (details or {}).get("retryAfterSeconds")
    return cls(str(status.get("message", "")), details=details, retry_after_s=after_s)
