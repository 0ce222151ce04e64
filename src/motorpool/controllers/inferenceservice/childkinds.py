"""Which kinds the children of an InferenceService may have here.

Services and Deployments are everywhere. Of the others a cluster serves some, and which ones can
change: on the embedded engine with every CustomResourceDefinition. A kind counts once its informer
has seen what there is, so that nobody's object is taken for a missing one.
"""

from collections.abc import Iterator, Mapping

from motorpool.api import core, networking, route
from motorpool.api.apps import DEPLOYMENT
from motorpool.api.kinds import Kind, open_schema
from motorpool.api.meta import Object, ObjectKey, at, controller_of, key_of
from motorpool.api.scheme import by_kind
from motorpool.api.serving import INFERENCE_SERVICE
from motorpool.controllers.inferenceservice.sources import owner_uids
from motorpool.loop.informer import Change, Informer
from motorpool.loop.runner import Attach, Context, KeysOf, owner_key

BY_OWNER = "owner"


def _foreign(group: str, version: str, kind: str) -> Kind:
    """A kind that others define; what it holds is theirs to check."""
    return Kind(
        group=group, version=version, kind=kind, plural=f"{kind.lower()}s", singular=kind.lower(),
        is_custom=True, has_generation=True, schema=open_schema,
    )  # fmt: skip


HTTP_ROUTE = _foreign("gateway.networking.k8s.io", "v1", "HTTPRoute")
SCALED_OBJECT = _foreign("keda.sh", "v1alpha1", "ScaledObject")
OPTIONAL = (networking.INGRESS, route.ROUTE, HTTP_ROUTE, SCALED_OBJECT)
"""What is made only where the API has it."""


class ChildKinds:
    def __init__(self, context: Context) -> None:
        self._context = context
        autoscaler = by_kind("autoscaling/v2", "HorizontalPodAutoscaler")
        always: list[Kind] = [core.SERVICE, DEPLOYMENT, core.CONFIG_MAP]
        self._always = [*always, autoscaler] if autoscaler is not None else always
        for kind in self._always:
            context.informers(kind).add_index(BY_OWNER, owner_uids)
        self.has_autoscaler = autoscaler is not None

    @property
    def served(self) -> frozenset[str]:
        """The optional kinds that there are now, by name."""
        return frozenset(kind.kind for kind in self._optional())

    def __iter__(self) -> Iterator[Kind]:
        yield from self._always
        yield from self._optional()

    def of(self, obj: Object) -> Kind:
        for kind in self:
            if (kind.api_version, kind.kind) == (obj["apiVersion"], obj["kind"]):
                return kind
        raise ValueError(f"not a served kind: {obj['apiVersion']} {obj['kind']}")

    def sources(self) -> Mapping[Informer, KeysOf]:
        """What to listen to from the start."""
        kinds = [*self._always, *(k for k in self._context.kinds.static if _is_optional(k))]
        return {self._informer(kind): self.concerned for kind in kinds}

    def attach_late(self, attach: Attach) -> None:
        """Listens to what definitions bring, as they come."""

        def learn(_: str, kinds: object) -> None:
            for kind in kinds if isinstance(kinds, list | tuple) else ():
                if _is_optional(kind):
                    attach(self._informer(kind), self.concerned)

        self._context.kinds.subscribe(learn)

    def concerned(self, change: Change) -> list[ObjectKey]:
        """Who owns it; of a Route that a user made also who is named alike, and whom it leads to.

        By the one it exposes the InferenceService; by the other it may have to speak TLS.
        """
        found = list(owner_key(INFERENCE_SERVICE.kind)(change))
        if change.object.get("kind") == route.ROUTE.kind:
            namespace, name = key_of(change.object)
            found.append(ObjectKey(namespace, name))
            to = at(change.object, "spec", "to", "name", default="")
            service = self._context.informers(core.SERVICE).get(namespace, to)
            owner = controller_of(service) if service is not None else None
            if owner is not None and owner["kind"] == INFERENCE_SERVICE.kind:
                found.append(ObjectKey(namespace, owner["name"]))
        return found

    def _optional(self) -> Iterator[Kind]:
        for kind in self._context.kinds:
            if _is_optional(kind) and self._informer(kind).is_synced:
                yield kind

    def _informer(self, kind: Kind) -> Informer:
        informer = self._context.informers(kind)
        informer.add_index(BY_OWNER, owner_uids)
        return informer


def _is_optional(kind: Kind) -> bool:
    return any((one.api_version, one.kind) == (kind.api_version, kind.kind) for one in OPTIONAL)
