"""Kinds that are asked and never stored: who am I, may I, whose token is this."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from motorpool.api.errors import ApiError, BadRequest, FieldError
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.apiserver.access.claims import ISSUER
from motorpool.apiserver.access.gate import Gate
from motorpool.apiserver.access.rules import Attributes
from motorpool.apiserver.authentication import User
from motorpool.apiserver.refusals import invalid

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


def _review(group: str, kind: str, *, namespaced: bool = False) -> Kind:
    return Kind(
        group=group, version="v1", kind=kind, plural=f"{kind.lower()}s", singular=kind.lower(),
        namespaced=namespaced, verbs=("create",),
    )  # fmt: skip


TOKEN_REVIEW = _review(AUTHENTICATION, "TokenReview")
SELF_SUBJECT_REVIEW = _review(AUTHENTICATION, "SelfSubjectReview")
SELF_SUBJECT_ACCESS_REVIEW = _review(AUTHORIZATION, "SelfSubjectAccessReview")
SELF_SUBJECT_RULES_REVIEW = _review(AUTHORIZATION, "SelfSubjectRulesReview")
SUBJECT_ACCESS_REVIEW = _review(AUTHORIZATION, "SubjectAccessReview")
LOCAL_SUBJECT_ACCESS_REVIEW = _review(AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True)


@dataclass(frozen=True, slots=True)
class Question:
    kind: Kind
    review: Object
    user: User  # who asks
    namespace: str
    gate: Gate

    @property
    def spec(self) -> Object:
        return self.review.get("spec") or {}


Answer: TypeAlias = Callable[[Question], Awaitable[Object]]
"""The status of a review."""


async def _who(question: Question) -> Object:
    return {"userInfo": user_info(question.user)}


def user_info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


async def _may_i(question: Question) -> Object:
    return _decided(question, question.user)


async def _may_they(question: Question) -> Object:
    spec = question.spec
    name, groups = spec.get("user") or "", spec.get("groups") or ()
    if not name and not groups:
        error = FieldError.invalid(
            "spec.user", "", "at least one of user or group must be specified"
        )
        raise invalid(question.kind, "", error)
    return _decided(question, User(name, tuple(groups), spec.get("uid") or ""))


async def _may_they_here(question: Question) -> Object:
    spec = question.spec
    if at(spec, "resourceAttributes", "namespace", default="") != question.namespace:
        text = "must match metadata.namespace"
        path = "spec.resourceAttributes.namespace"
        asked = at(spec, "resourceAttributes", "namespace", default="")
        raise invalid(question.kind, "", FieldError.invalid(path, asked, text))
    if spec.get("nonResourceAttributes") is not None:
        text = "disallowed on this kind of request"
        error = FieldError.invalid(
            "spec.nonResourceAttributes", spec["nonResourceAttributes"], text
        )
        raise invalid(question.kind, "", error)
    return await _may_they(question)


def _decided(question: Question, user: User) -> Object:
    decision = question.gate.policy.decide(user, _attributes(question))
    status: Object = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return status


def _attributes(question: Question) -> Attributes:
    spec = question.spec
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        error = FieldError.invalid("spec.resourceAttributes", resource, text)
        raise invalid(question.kind, "", error)
    if resource is None:
        path = path or {}
        return Attributes(verb=path.get("verb") or "", path=path.get("path") or "")
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(*(resource.get(field) or "" for field in fields))


async def _rules(question: Question) -> Object:
    namespace = question.spec.get("namespace")
    if not namespace:
        raise BadRequest("no namespace on request")
    status: Object = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
    for rule in question.gate.policy.rules_of(question.user, namespace):
        kept = {name: value for name, value in rule.items() if value}
        paths = kept.get("nonResourceURLs")
        status["nonResourceRules" if paths else "resourceRules"].append(kept)
    return status


async def _whose(question: Question) -> Object:
    spec = question.spec
    token, audiences = spec.get("token") or "", spec.get("audiences") or (ISSUER,)
    if not token:
        raise BadRequest("token is required for TokenReview in authentication")
    try:
        user = await question.gate.authenticator.authenticate(f"Bearer {token}")
    except ApiError:
        return {"user": {}, "error": "invalid bearer token"}
    common = [one for one in audiences if one in (user.audiences or (ISSUER,))]
    if not common:
        return {"user": {}, "error": "invalid bearer token"}
    return {"authenticated": True, "user": user_info(user), "audiences": common}


ANSWERS: Mapping[Kind, Answer] = {
    TOKEN_REVIEW: _whose,
    SELF_SUBJECT_REVIEW: _who,
    SELF_SUBJECT_ACCESS_REVIEW: _may_i,
    SELF_SUBJECT_RULES_REVIEW: _rules,
    SUBJECT_ACCESS_REVIEW: _may_they,
    LOCAL_SUBJECT_ACCESS_REVIEW: _may_they_here,
}

KINDS = tuple(ANSWERS)


async def answer(question: Question, moment: str) -> Object:
    return {
        "kind": question.kind.kind,
        "apiVersion": question.kind.api_version,
        "metadata": {"creationTimestamp": moment},
        "spec": question.spec,
        "status": await ANSWERS[question.kind](question),
    }
