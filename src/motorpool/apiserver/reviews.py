"""Kinds that are asked and never stored: who am I, may I. Pure.

Every authenticated user may do everything, so the answers are short.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from motorpool.api.errors import BadRequest, FieldError
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.apiserver.authentication import User
from motorpool.apiserver.refusals import invalid


def _review(group: str, kind: str) -> Kind:
    return Kind(
        group=group, version="v1", kind=kind, plural=f"{kind.lower()}s", singular=kind.lower(),
        namespaced=False, verbs=("create",),
    )  # fmt: skip


SELF_SUBJECT_REVIEW = _review("authentication.k8s.io", "SelfSubjectReview")
SELF_SUBJECT_ACCESS_REVIEW = _review("authorization.k8s.io", "SelfSubjectAccessReview")
SELF_SUBJECT_RULES_REVIEW = _review("authorization.k8s.io", "SelfSubjectRulesReview")

Answer: TypeAlias = Callable[[Object, User], Object]
"""The status of a review."""


def _who(_: Object, user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {"userInfo": info}


def _may(review: Object, _: User) -> Object:
    spec = review.get("spec") or {}
    asked = [spec.get("resourceAttributes"), spec.get("nonResourceAttributes")]
    if sum(attributes is not None for attributes in asked) != 1:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        error = FieldError.invalid("spec.resourceAttributes", asked[0], text)
        raise invalid(SELF_SUBJECT_ACCESS_REVIEW, "", error)
    return {"allowed": True}


def _rules(review: Object, _: User) -> Object:
    if not at(review, "spec", "namespace"):
        raise BadRequest("no namespace on request")
    return {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }


ANSWERS: Mapping[Kind, Answer] = {
    SELF_SUBJECT_REVIEW: _who,
    SELF_SUBJECT_ACCESS_REVIEW: _may,
    SELF_SUBJECT_RULES_REVIEW: _rules,
}

KINDS = tuple(ANSWERS)


def answer(kind: Kind, review: Object, user: User, moment: str) -> Object:
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": {"creationTimestamp": moment},
        "spec": review.get("spec") or {},
        "status": ANSWERS[kind](review, user),
    }
