"""Whether and by which objects the world reaches an InferenceService. Pure.

- internal: by none, where the label or the configuration says it.
- route: the label `networking.kserve.io/visibility: exposed`, where OpenShift's Route is served.
- gateway, ingress: by the configuration, key `ingress`. Not with authentication: the pods then
  speak TLS, which to an Ingress is told by annotations of the controller behind it.

The objects are made with the other children; they answer once the pods behind them do.
"""

from collections.abc import Collection, Mapping

from motorpool.api.meta import Object, at, labels_of, name_of
from motorpool.api.serving_fields import wants_authentication
from motorpool.controllers.inferenceservice.config import CLUSTER_DOMAIN, Config
from motorpool.controllers.inferenceservice.httproutes import http_routes
from motorpool.controllers.inferenceservice.ingresses import ingress
from motorpool.controllers.inferenceservice.labels import VISIBILITY_LABEL
from motorpool.controllers.inferenceservice.names import PREDICTOR, TRANSFORMER
from motorpool.controllers.inferenceservice.openshiftroutes import openshift_route

INTERNAL, ROUTE, INGRESS, GATEWAY = "internal", "route", "ingress", "gateway"
KINDS = {ROUTE: "Route", INGRESS: "Ingress", GATEWAY: "HTTPRoute"}


def way_of(isvc: Object, config: Config, served: Collection[str]) -> str:
    """How the world gets in; *served* are the kinds that the API has."""
    visibility = labels_of(isvc).get(VISIBILITY_LABEL)
    if _is_local(isvc, config):
        return INTERNAL
    if visibility == "exposed" and KINDS[ROUTE] in served:
        return ROUTE
    if not config.ingress_enabled or wants_authentication(isvc):
        return INTERNAL
    return GATEWAY if config.gateway_api else INGRESS


def lacks_a_route(isvc: Object, config: Config, served: Collection[str]) -> bool:
    """Whether it would be exposed but for the authentication that it asks for."""
    wanted = config.ingress_enabled and not _is_local(isvc, config)
    return wanted and wants_authentication(isvc) and way_of(isvc, config, served) == INTERNAL


def _is_local(isvc: Object, config: Config) -> bool:
    visibility = labels_of(isvc).get(VISIBILITY_LABEL)
    return visibility == "cluster-local" or config.ingress_domain == CLUSTER_DOMAIN


def exposing(
    isvc: Object, services: Mapping[str, Object], config: Config, served: Collection[str]
) -> list[Object]:
    """The objects; *services* are those of the components. Raises Refusal."""
    way = way_of(isvc, config, served)
    if way == INTERNAL or KINDS[way] not in served:
        return []
    if way == ROUTE:
        return [openshift_route(isvc, services[entry_of(isvc)])]
    if way == GATEWAY:
        return http_routes(isvc, services, config)
    return [ingress(isvc, [name_of(service) for service in services.values()], config)]


def entry_of(isvc: Object) -> str:
    """The component that requests come to first."""
    return TRANSFORMER if at(isvc, "spec", TRANSFORMER) else PREDICTOR
