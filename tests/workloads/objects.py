"""Builders: each states only what matters to the test."""


def deployment(name="web", *, replicas=1, image="app:1", **spec):
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "n", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template(labels, image),
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


def template(labels, image="app:1"):
    return {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def replica_set(name="web-1", *, replicas=1, labels=None, owner=None, **spec):
    labels = labels or {"app": "web"}
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}", "generation": 1}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template(labels),
            **spec,
        },
    }


def reference(owner, **more):
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **more,
    }


def pod(
    name="p",
    *,
    labels=None,
    owner=None,
    phase="Running",
    ready=None,
    node="node1",
    ip="",
    **metadata,
):
    ready = phase == "Running" if ready is None else ready
    references = [reference(owner, controller=True)] if owner is not None else []
    conditions = [ready_condition(ready)]
    status = {"phase": phase, "conditions": conditions}
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "n",
            "labels": labels or {"app": "web"},
            **({"ownerReferences": references} if references else {}),
            **metadata,
        },
        "spec": {"containers": [{"name": "app"}], **({"nodeName": node} if node else {})},
        "status": status,
    }


def ready_condition(ready, since="2026-01-01T00:00:00Z"):
    return {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}


def deleting(obj):
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return obj
