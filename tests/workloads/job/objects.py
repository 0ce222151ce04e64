"""A Job and its pods: each states only what matters to the test."""

from tests.workloads.objects import pod, reference

LABELS = {"batch.kubernetes.io/controller-uid": "uid-work"}


def job(*, status=None, policy="Never", **spec):
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "n", "uid": "uid-work", "generation": 1},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "restartPolicy": policy,
                    "containers": [{"name": "app", "image": "app:1"}],
                },
            },
            **spec,
        },
        "status": status or {},
    }


def part(name="a", phase="Running", *, tracked=True, ended=None, index=None, **metadata):
    """A pod of the Job."""
    made = pod(name, labels=LABELS, phase=phase, **metadata)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": job()["metadata"]}
    made["metadata"]["ownerReferences"] = [reference(owner, controller=True)]
    made["metadata"]["uid"] = f"uid-{name}"
    if tracked:
        made["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    if index is not None:
        key = "batch.kubernetes.io/job-completion-index"
        made["metadata"]["annotations"] = {key: str(index)}
    if ended:
        state = {"terminated": {"finishedAt": ended, "exitCode": 1}}
        made["status"]["containerStatuses"] = [{"name": "app", "state": state}]
    return made
