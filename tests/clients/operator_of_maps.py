"""A small kopf operator: what it does with a ConfigMap it tells in the ConfigMap's annotations."""

import kopf

LABEL = {"operated": "yes"}


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    settings.posting.enabled = True
    settings.execution.max_workers = 4


@kopf.on.create("configmaps", labels=LABEL)
def created(body, patch, **_):
    patch.metadata.annotations["operator/created"] = body["data"]["color"]
    kopf.info(body, reason="Created", message="seen by the operator")


@kopf.on.update("configmaps", labels=LABEL, field="data")
def updated(new, patch, **_):
    patch.metadata.annotations["operator/updated"] = new["color"]


@kopf.on.timer("configmaps", labels=LABEL, interval=0.5)
def ticked(patch, annotations, **_):
    if "operator/ticked" not in annotations:
        patch.metadata.annotations["operator/ticked"] = "yes"


@kopf.on.delete("configmaps", labels=LABEL)
def deleted(name, **_):
    print(f"deleted {name}", flush=True)  # noqa: T201  # what the test reads
