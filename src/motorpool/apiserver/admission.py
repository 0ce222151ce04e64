"""From what a client sent to what may be stored: fields, types, defaults, rules. Pure."""

from collections.abc import Sequence

from motorpool.api import schema
from motorpool.api.errors import BadRequest, FieldError
from motorpool.api.godecode import decode_error, fill_nulls
from motorpool.api.kinds import Kind, Schema
from motorpool.api.meta import Object
from motorpool.api.structural import type_errors
from motorpool.api.validation import validate_metadata
from motorpool.apiserver.options import WriteOptions
from motorpool.apiserver.refusals import invalid


class Undecodable(BadRequest):
    """An object that does not fit its kind; *problem* is why, in the decoder's words."""

    def __init__(self, kind: Kind, problem: str) -> None:
        super().__init__(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {problem}'
        )
        self.problem = problem


def conformed(kind: Kind, obj: Object, options: WriteOptions) -> Object:
    """*obj* with the fields that its kind declares, and no others; they have the right types.

    Raises Undecodable and BadRequest; what is merely dropped becomes a warning, as the options say.
    """
    check_kind(kind, obj)
    declared = schema.of(kind)
    problems = [f'duplicate field "{path}"' for path in options.duplicates]
    if options.field_validation == "Ignore":
        problems = []
    else:
        unknown = schema.unknown_fields(obj, declared)
        problems += [f'unknown field "{path}"' for path in unknown]
    if problems and options.field_validation == "Strict":
        raise Undecodable(kind, f"strict decoding error: {', '.join(problems)}")
    options.warnings.extend(problems)
    if problems or options.field_validation == "Ignore":
        obj = schema.without_unknown(obj, declared)
    # A custom resource is defaulted before it is looked at: `fill` refuses what does not fit.
    problem = decode_error(obj, metadata_of(declared) if kind.is_custom else declared)
    if problem:
        raise Undecodable(kind, problem)
    if not kind.is_custom:
        fill_nulls(obj, declared)
    return obj


def metadata_of(declared: Schema) -> Schema:
    """The part of a kind's schema that all kinds have."""
    return {"type": "object", "properties": {"metadata": declared["properties"]["metadata"]}}


def check_kind(kind: Kind, obj: Object) -> None:
    """Refuses an object that says it is something else; a built-in one may say nothing."""
    says = obj.get("kind"), obj.get("apiVersion")
    if kind.is_custom and not says[0]:
        raise BadRequest("Object 'Kind' is missing in the request body")
    if says[0] not in (None, "", kind.kind) or says[1] not in (None, "", kind.api_version):
        raise BadRequest(
            f"the API version in the data ({says[1]}, Kind={says[0]}) does not match the "
            f"expected API version ({kind.api_version}, Kind={kind.kind})"
        )
    obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind


def fill(kind: Kind, obj: Object, old: Object | None) -> None:
    """Writes what omitted fields mean. Raises Invalid for a custom resource of wrong types."""
    declared = schema.of(kind)
    schema.fill_defaults(obj, declared)
    _check_types(kind, obj, old, declared)
    kind.default(obj)


def fill_status(kind: Kind, obj: Object, old: Object) -> None:
    """The defaults of the status alone; the rest of *obj* may be shared."""
    declared = schema.of(kind)
    status = declared["properties"].get("status")
    if status is not None and isinstance(obj.get("status"), dict):
        schema.fill_defaults(obj["status"], status)
    _check_types(kind, obj, old, declared)


def _check_types(kind: Kind, obj: Object, old: Object | None, declared: Schema) -> None:
    if not kind.is_custom:
        return
    errors = type_errors(obj, declared, old)
    if errors:
        raise invalid(kind, str(obj["metadata"].get("name", "")), *errors)


def check(kind: Kind, new: Object, old: Object | None) -> None:
    """Raises Invalid with every reason there is."""
    errors: Sequence[FieldError] = [
        *validate_metadata(kind, new, old),
        *kind.validate(new, old),
    ]
    if errors:
        raise invalid(kind, str(new["metadata"].get("name", "")), *errors)
