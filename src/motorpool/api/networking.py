"""The networking group. Ingresses and NetworkPolicies are stored for whoever acts on them."""

from motorpool.api import networkcolumns, networkrules
from motorpool.api.kinds import STATUS, Kind
from motorpool.api.kubernetestypes import built_in

INGRESS = Kind(
    group="networking.k8s.io", version="v1", kind="Ingress", plural="ingresses",
    singular="ingress", short_names=("ing",), has_generation=True, subresources=(STATUS,),
    schema=built_in("networking.k8s.io", "v1", "Ingress"), columns=networkcolumns.INGRESS,
    default=networkrules.default_ingress, validate=networkrules.validate_ingress,
)  # fmt: skip
INGRESS_CLASS = Kind(
    group="networking.k8s.io", version="v1", kind="IngressClass", plural="ingressclasses",
    singular="ingressclass", namespaced=False, has_generation=True,
    schema=built_in("networking.k8s.io", "v1", "IngressClass"),
    columns=networkcolumns.INGRESS_CLASS, validate=networkrules.validate_ingress_class,
)  # fmt: skip
NETWORK_POLICY = Kind(
    group="networking.k8s.io", version="v1", kind="NetworkPolicy", plural="networkpolicies",
    singular="networkpolicy", short_names=("netpol",), has_generation=True,
    schema=built_in("networking.k8s.io", "v1", "NetworkPolicy"),
    columns=networkcolumns.NETWORK_POLICY,
    default=networkrules.default_network_policy, validate=networkrules.validate_network_policy,
)  # fmt: skip

KINDS = (INGRESS, INGRESS_CLASS, NETWORK_POLICY)
