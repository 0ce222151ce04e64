"""apiextensions.k8s.io: CustomResourceDefinitions, by which users bring kinds of their own."""

from motorpool.api.definition_rules import definition_errors
from motorpool.api.definition_schema import definition
from motorpool.api.definitions import default_definition
from motorpool.api.kinds import STATUS, Column, Kind
from motorpool.api.tables import NAME

CUSTOM_RESOURCE_DEFINITION = Kind(
    group="apiextensions.k8s.io", version="v1", kind="CustomResourceDefinition",
    plural="customresourcedefinitions", singular="customresourcedefinition", namespaced=False,
    short_names=("crd", "crds"), categories=("api-extensions",), has_generation=True,
    delete_returns_object=True, update_needs_resource_version=True, subresources=(STATUS,),
    schema=definition, default=default_definition, validate=definition_errors,
    columns=(
        NAME,
        Column(
            "Created At", lambda obj, _: obj["metadata"].get("creationTimestamp"), "date",
            description="When the object was created",
        ),
    ),
)  # fmt: skip

KINDS = (CUSTOM_RESOURCE_DEFINITION,)
