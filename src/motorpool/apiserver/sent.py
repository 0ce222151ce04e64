"""What a request on a kind sends and asks for: its body, its options, a verb that the kind has."""

from typing import Any

from motorpool.api import decode, patch, schema
from motorpool.api.errors import BadRequest, FieldError, MethodNotAllowed, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver import options as asked
from motorpool.apiserver.http import Request
from motorpool.apiserver.options import WriteOptions
from motorpool.apiserver.paths import Target
from motorpool.apiserver.refusals import invalid_options
from motorpool.apiserver.writer import Change

_BODY_VERBS = {"POST": "Create", "PUT": "Update", "PATCH": "Patch"}


async def decoded_of(request: Request, kind: Kind) -> tuple[Object, WriteOptions]:
    decoded = decode.decode(
        await request.body(),
        request.header("content-type"),
        kind=kind.kind,
        find_duplicates=request.query.get("fieldValidation") != "Ignore",
    )
    return shaped(decoded.object), write_options(request, tuple(decoded.duplicates))


def shaped(obj: Any) -> Object:
    """*obj* with metadata. Raises BadRequest for what can be no object of any kind."""
    if not isinstance(obj, dict):
        raise BadRequest("the object provided is unrecognized: it is not a JSON object")
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise BadRequest("the object provided is unrecognized: its metadata is not an object")
    return obj if metadata is not None else {**obj, "metadata": {}}


def write_options(request: Request, duplicates: tuple[str, ...]) -> WriteOptions:
    verb = _BODY_VERBS[request.method]
    return asked.write_options(verb, request.query, request.header("user-agent"), duplicates)


async def delete_body(request: Request) -> Object | None:
    body = await request.body()
    if not body:
        return None
    decoded = decode.decode(body, request.header("content-type"), kind="DeleteOptions")
    if not isinstance(decoded.object, dict):
        raise BadRequest("the object provided is unrecognized: it is no DeleteOptions")
    return decoded.object


def patches_of(kind: Kind, subresource: str) -> tuple[str, ...]:
    if kind.is_custom:
        return tuple(p for p in decode.PATCHES if p != decode.STRATEGIC_MERGE_PATCH)
    if subresource == "scale":
        return tuple(p for p in decode.PATCHES if p != decode.APPLY_PATCH)
    return decode.PATCHES


def check_apply(request: Request) -> None:
    if not request.query.get("fieldManager"):
        error = FieldError.required("fieldManager", "is required for apply patch")
        raise invalid_options("PatchOptions", error)


def change_of(kind: Kind, media: str, body: Any) -> Change:
    """The patch as a function from object to object."""
    if media == decode.JSON_PATCH:
        return lambda obj: patch.json_patch(obj, body)
    if media == decode.MERGE_PATCH:
        return lambda obj: patch.merge_patch(obj, body)
    return lambda obj: patch.strategic_merge_patch(obj, body, schema.of(kind))


def limit(query: asked.Query, name: str) -> int | None:
    return asked.integer(query[name]) if query.get(name) else None


_COLLECTION_VERBS = {"POST": "create", "DELETE": "deletecollection"}


def check_verb(request: Request, kind: Kind, *, watches: bool) -> None:
    verb = _COLLECTION_VERBS.get(request.method, "watch" if watches else "list")
    if verb not in kind.verbs:
        raise not_allowed()


def check_served(request: Request, kind: Kind, target: Target) -> None:
    """Refuses the verb that the object, or what stands below it, does not have."""
    verbs = {"GET": "get", "PUT": "update", "PATCH": "patch", "POST": "create", "DELETE": "delete"}
    verb = verbs.get(request.method)
    if not target.subresource:
        if verb not in kind.verbs:
            raise not_allowed()
        return
    for sub in kind.subresources:
        if sub.name == target.subresource:
            if verb not in sub.verbs:
                raise not_allowed()
            return
    raise no_resource()


def not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def no_resource() -> NotFound:
    return NotFound("the server could not find the requested resource")
