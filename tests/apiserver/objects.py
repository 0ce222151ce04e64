"""Objects that several tests begin with, and what they ask of answers."""

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def config_map(name="a", **fields):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        **fields,
    }


def deployment(name="web", replicas=1):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "x"}]},
            },
        },
    }


async def created(http, path, obj, **query):
    answer = await http.post(path, json=obj, params=query)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refusal(answer):
    status = answer.json()
    assert status["kind"] == "Status"
    assert status["code"] == answer.status_code
    return answer.status_code, status.get("reason", ""), status["message"]
