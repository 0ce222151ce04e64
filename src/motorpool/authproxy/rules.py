"""What a caller must be allowed to do, from kube-rbac-proxy's file. Pure, but for reading it.

    authorization:
      resourceAttributes:
        namespace: NAMESPACE
        apiGroup: serving.kserve.io
        apiVersion: v1beta1
        resource: inferenceservices
        name: NAME
        verb: get

Only such a fixed rule is known. What else kube-rbac-proxy knows, rewrites and static
authorisations, is refused: a rule that is half understood protects nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FIELDS = {
    "namespace": "namespace", "apiGroup": "group", "apiVersion": "version",
    "resource": "resource", "subresource": "subresource", "name": "name", "verb": "verb",
}  # fmt: skip
"""The file's words -> those of a SubjectAccessReview."""


class RulesError(ValueError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    attributes: Mapping[str, str]
    """The resourceAttributes of a SubjectAccessReview."""

    def __str__(self) -> str:
        parts = (self.attributes.get(key, "") for key in ("resource", "subresource", "name"))
        where = self.attributes.get("namespace", "")
        what = "/".join(part for part in parts if part)
        return f"{self.attributes['verb']} {what}" + (f" in namespace {where}" if where else "")


def read(file: Path) -> Rule:
    """Raises RulesError."""
    import yaml

    try:
        return rule_of(yaml.safe_load(file.read_text()))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RulesError(f"cannot read {file}: {error}") from error
    except RulesError as error:
        raise RulesError(f"{file}: {error}") from None


def rule_of(document: object) -> Rule:
    """Raises RulesError."""
    authorization = _only(document, "authorization", "the file")
    given = _only(authorization, "resourceAttributes", "authorization")
    if not isinstance(given, dict) or not given:
        raise RulesError("authorization.resourceAttributes must be an object")
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise RulesError(f"authorization.resourceAttributes.{unknown[0]}: no such field")
    attributes = {FIELDS[field]: str(value) for field, value in given.items() if value}
    for field in ("resource", "verb"):
        if field not in attributes:
            raise RulesError(f"authorization.resourceAttributes.{field}: required")
    return Rule(attributes)


def _only(document: object, field: str, where: str) -> object:
    if not isinstance(document, dict) or set(document) != {field}:
        raise RulesError(f"{where} must hold {field} and nothing else")
    return document[field]
