"""Under which names the world reaches an InferenceService. Pure.

The domain template of the configuration makes them; it is filled in with the name of the
InferenceService, or of one of its components.
"""

from motorpool.api import names
from motorpool.api.meta import Object, annotations_of, labels_of, namespace_of
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.placeholders import filled, filled_domain
from motorpool.controllers.inferenceservice.refusal import INVALID_CONFIGURATION, Refusal


def host_of(isvc: Object, name: str, config: Config, domain: str = "") -> str:
    """The host for *name*, which need not be a valid one."""
    variables = {
        "Name": name,
        "Namespace": namespace_of(isvc),
        "IngressDomain": domain or config.ingress_domain,
    }
    text = filled_domain(config.domain_template, variables, keep=("Labels", "Annotations"))
    metadata = {"labels": labels_of(isvc), "annotations": annotations_of(isvc)}
    return str(filled(text, {"metadata": metadata}))


def checked_host(isvc: Object, name: str, config: Config, domain: str = "") -> str:
    """The host for *name*. Raises Refusal where it is no DNS name."""
    host = host_of(isvc, name, config, domain)
    problems = [*names.subdomain(host), *names.label(host.partition(".")[0])]
    if problems:
        raise Refusal(
            INVALID_CONFIGURATION,
            f"the host {host} of {name} is not valid: {problems[0]}; correct domainTemplate and "
            "ingressDomain of key ingress in ConfigMap inferenceservice-config, or choose a "
            "shorter name",
        )
    return host
