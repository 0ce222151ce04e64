"""The API's words for what the registry refuses. Pure."""

import msgspec

from motorpool.api import godecode, gojson
from motorpool.api.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Expired,
    FieldError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Timeout,
)
from motorpool.api.errors import invalid as invalid_object
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class ParseFailure(ApiError):
    """A number that is none; the API answers 500 without a reason."""

    code = 500
    reason = ""


def _details(kind: Kind, name: str) -> Object:
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in details.items() if value}


def not_found(kind: Kind, name: str) -> NotFound:
    return NotFound(f'{kind.resource} "{name}" not found', details=_details(kind, name))


def already_exists(kind: Kind, name: str) -> AlreadyExists:
    return AlreadyExists(f'{kind.resource} "{name}" already exists', details=_details(kind, name))


def conflict(kind: Kind, name: str, why: str = MODIFIED) -> Conflict:
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return Conflict(message, details=_details(kind, name))


def uid_conflict(kind: Kind, name: str, wanted: str, actual: str) -> Conflict:
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}"
    return conflict(kind, name, why)


def precondition_failed(kind: Kind, name: str, what: str, wanted: str, actual: str) -> Conflict:
    """For the preconditions of a deletion; *what* is ``UID`` or ``ResourceVersion``."""
    message = (
        f'Operation cannot be fulfilled on {kind.kind} "{name}": the {what} in the precondition '
        f"({wanted}) does not match the {what} in record ({actual}). "
        "The object might have been deleted and then recreated"
    )
    details = {"name": name, "group": kind.group, "kind": kind.kind}
    return Conflict(message, details={key: value for key, value in details.items() if value})


def no_account(pod: str, namespace: str, name: str) -> Forbidden:
    why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
    return Forbidden(f'pods "{pod}" is forbidden: {why}', details={"name": pod, "kind": "pods"})


def namespace_terminating(kind: Kind, name: str, namespace: str) -> Forbidden:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    details = _details(kind, name)
    details["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return Forbidden(f'{kind.resource} "{name}" is forbidden: {why}', details=details)


def definition_protected(kind: Kind, name: str) -> Forbidden:
    message = f'{kind.resource} "{name}" is forbidden: this kind is built in, and always served'
    return Forbidden(message, details=_details(kind, name))


def definition_terminating() -> MethodNotAllowed:
    return MethodNotAllowed("create not allowed while custom resource definition is terminating")


def namespace_protected(kind: Kind, name: str) -> Forbidden:
    message = f'{kind.resource} "{name}" is forbidden: this namespace may not be deleted'
    return Forbidden(message, details=_details(kind, name))


def namespace_mismatch() -> BadRequest:
    return BadRequest(
        "the namespace of the provided object does not match the namespace sent on the request"
    )


def name_mismatch(body: str, url: str) -> BadRequest:
    if not body:
        return BadRequest(
            f"the name of the object ({url} based on URL) was undeterminable: name must be provided"
        )
    return BadRequest(f"the name of the object ({body}) does not match the name on the URL ({url})")


def too_old(revision: int, oldest: int) -> Expired:
    return Expired(f"too old resource version: {revision} ({oldest})")


def list_too_old() -> Expired:
    return Expired("The resourceVersion for the provided list is too old.")


def continue_too_old(continue_: str) -> Expired:
    """*continue_* goes on with what is there now."""
    return Expired(
        "The provided continue parameter is too old to display a consistent list result. "
        "You can start a new list without the continue parameter, or use the continue token in "
        "this response to retrieve the remainder of the results. Continuing with the provided "
        "token results in an inconsistent list - objects that were created, modified, or deleted "
        "between the time the first chunk was returned and now may show up in the list.",
        continue_=continue_,
    )


def too_new(revision: int, current: int) -> Timeout:
    return Timeout(
        f"Timeout: Too large resource version: {revision}, current: {current}",
        details={
            "causes": [
                {
                    "reason": "ResourceVersionTooLarge",
                    "message": "Too large resource version",
                }
            ]
        },
        retry_after_s=1,
    )


def bad_revision(text: str) -> ParseFailure:
    return ParseFailure(
        f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
        "invalid syntax"
    )


def patch_result(result: Object, strategic: Object | None, problem: str) -> Invalid:
    """For a patch that makes no object of the kind: the fault is the patch's, not the object's.

    A strategic merge patch is shown itself, and converted by type; of the others the result is.
    """
    if strategic is None:
        shown = msgspec.json.encode(result).decode()
    else:
        shown = gojson.printed(strategic)
        problem = godecode.conversion_error(problem)
    return invalid_object("", "", "", [FieldError.invalid("patch", shown, problem)])


def invalid(kind: Kind, name: str, *errors: FieldError) -> Invalid:
    return invalid_object(kind.kind, kind.group, name, errors)


def invalid_options(options: str, *errors: FieldError) -> Invalid:
    """For ``CreateOptions``, ``ListOptions`` and so on."""
    return invalid_object(options, "meta.k8s.io", "", errors)
