"""What omitted fields of the stored kinds mean, what is refused, and what ``kubectl get`` shows."""

import pytest

from tests.apiserver.objects import TABLE, created, refusal

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
INGRESS_CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"
ENDPOINTS = "/api/v1/namespaces/default/endpoints"


def claim(**spec):
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1024Mi"}},
        **spec,
    }
    return {"metadata": {"name": "c"}, "spec": spec}


def volume(**spec):
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/srv"},
        **spec,
    }
    return {"metadata": {"name": "v"}, "spec": spec}


def ingress(**spec):
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return {
        "metadata": {"name": "i"},
        "spec": {"rules": [{"host": "web.example.com", "http": {"paths": paths}}], **spec},
    }


async def cells(http, path):
    table = (await http.get(path, headers={"accept": TABLE})).json()
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


async def test_a_claim_waits_and_is_protected(http):
    made = await created(http, CLAIMS, claim())
    assert made["spec"]["volumeMode"] == "Filesystem"
    assert made["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert made["status"] == {"phase": "Pending"}
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    shown = await cells(http, CLAIMS)
    assert (shown["Status"], shown["Volume"], shown["VolumeAttributesClass"]) == (
        "Pending",
        "",
        "<unset>",
    )


async def test_the_spec_of_a_claim_is_kept(http):
    await created(http, CLAIMS, claim(storageClassName="fast"))
    changed = claim(storageClassName="slow")
    code, _, message = refusal(await http.put(f"{CLAIMS}/c", json=changed))
    assert code == 422
    assert "spec: Forbidden: spec is immutable after creation except" in message


async def test_a_volume_is_retained_and_protected(http):
    made = await created(http, VOLUMES, volume())
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    shown = await cells(http, VOLUMES)
    assert (shown["Capacity"], shown["Access Modes"], shown["Status"]) == ("1Gi", "RWO", "Pending")


async def test_the_default_class_is_named_so(http):
    annotation = {"storageclass.kubernetes.io/is-default-class": "true"}
    metadata = {"name": "standard", "annotations": annotation}
    made = await created(http, CLASSES, {"metadata": metadata, "provisioner": "example.com/p"})
    assert (made["reclaimPolicy"], made["volumeBindingMode"]) == ("Delete", "Immediate")
    shown = await cells(http, CLASSES)
    assert (shown["Name"], shown["AllowVolumeExpansion"]) == ("standard (default)", False)


async def test_an_ingress_shows_its_hosts(http):
    await created(http, INGRESSES, ingress(ingressClassName="envoy"))
    shown = await cells(http, INGRESSES)
    assert (shown["Class"], shown["Hosts"], shown["Ports"]) == ("envoy", "web.example.com", "80")


async def test_a_network_policy_is_about_what_comes_in(http):
    made = await created(http, POLICIES, {"metadata": {"name": "n"}, "spec": {"podSelector": {}}})
    assert made["spec"]["policyTypes"] == ["Ingress"]
    assert (await cells(http, POLICIES))["Pod-Selector"] == "<none>"


async def test_endpoints_show_addresses_with_ports(http):
    subset = {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}]}
    made = await created(http, ENDPOINTS, {"metadata": {"name": "e"}, "subsets": [subset]})
    assert made["subsets"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert (await cells(http, ENDPOINTS))["Endpoints"] == "10.0.0.1:80,10.0.0.2:80"


@pytest.mark.parametrize(
    ("path", "obj", "text"),
    [
        (CLAIMS, claim(accessModes=[]), "spec.accessModes: Required value"),
        (CLAIMS, claim(resources={}), "spec.resources[storage]: Required value"),
        (CLAIMS, claim(accessModes=["All"]), 'spec.accessModes: Unsupported value: "All"'),
        (VOLUMES, volume(hostPath=None), "spec: Required value: must specify a volume type"),
        (VOLUMES, volume(nfs={"server": "s", "path": "/"}), "spec.nfs: Forbidden"),
        (CLASSES, {"metadata": {"name": "s"}, "provisioner": ""}, "provisioner: Required value"),
        (INGRESSES, ingress(rules=[]), "either `defaultBackend` or `rules` must be specified"),
        (
            INGRESSES,
            ingress(rules=[{"http": {"paths": [{"path": "x", "pathType": "Exact"}]}}]),
            "must be an absolute path",
        ),
        (
            INGRESS_CLASSES,
            {"metadata": {"name": "c"}, "spec": {}},
            "spec.controller: Required value",
        ),
        (
            POLICIES,
            {
                "metadata": {"name": "n"},
                "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]},
            },
            "spec.ingress[0].from[0].ipBlock.cidr: Invalid value",
        ),
        (
            ENDPOINTS,
            {"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "x"}]}]},
            "subsets[0].addresses[0].ip: Invalid value",
        ),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(http, path, obj, text):
    code, reason, message = refusal(await http.post(path, json=obj))
    assert (code, reason) == (422, "Invalid")
    assert text in message


JOBS = "/apis/batch/v1/namespaces/default/jobs"
SCALERS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"


def job(policy="Never", **spec):
    template = {"spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "x"}]}}
    return {"metadata": {"name": "work"}, "spec": {"template": template, **spec}}


async def test_a_job_knows_its_pods_by_its_uid(http):
    made = await created(http, JOBS, job())
    uid = made["metadata"]["uid"]
    spec = made["spec"]
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = spec["template"]["metadata"]["labels"]
    assert (labels["job-name"], labels["batch.kubernetes.io/job-name"]) == ("work", "work")
    assert made["metadata"]["labels"] == labels
    kept = ("parallelism", "completions", "backoffLimit", "completionMode", "suspend")
    assert [spec[name] for name in kept] == [1, 1, 6, "NonIndexed", False]
    shown = await cells(http, JOBS)
    assert (shown["Status"], shown["Completions"]) == ("Running", "0/1")


async def test_a_job_that_is_deleted_without_a_policy_leaves_its_pods_and_warns(http):
    await created(http, JOBS, job())
    answer = await http.delete(f"{JOBS}/work")
    assert "child pods are preserved by default" in answer.headers["warning"]
    assert answer.json()["metadata"]["finalizers"] == ["orphan"]


async def test_kubectl_deletes_a_job_with_its_pods(http):
    await created(http, JOBS, job())
    answer = await http.delete(f"{JOBS}/work", params={"propagationPolicy": "Background"})
    assert "warning" not in answer.headers
    assert (await http.get(f"{JOBS}/work")).status_code == 404


async def test_the_pods_of_a_job_must_be_able_to_end(http):
    code, _, message = refusal(await http.post(JOBS, json=job("Always")))
    assert code == 422
    assert message == (
        'Job.batch "work" is invalid: spec.template.spec.restartPolicy: Required value: '
        'valid values: "OnFailure", "Never"'
    )


async def test_the_template_of_a_job_is_kept(http):
    made = await created(http, JOBS, job())
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "y"
    code, _, message = refusal(await http.put(f"{JOBS}/work", json=made))
    assert code == 422
    assert "spec.template: Invalid value" in message
    assert "field is immutable" in message


async def test_an_autoscaler_follows_the_cpu_unless_it_is_told_otherwise(http):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3}
    made = await created(http, SCALERS, {"metadata": {"name": "web"}, "spec": spec})
    assert made["spec"]["minReplicas"] == 1
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    shown = await cells(http, SCALERS)
    assert (shown["Reference"], shown["Targets"]) == ("Deployment/web", "cpu: <unknown>/80%")
    other = {"metadata": {"name": "x"}, "spec": {**spec, "minReplicas": 4}}
    code, _, message = refusal(await http.post(SCALERS, json=other))
    assert code == 422
    assert "spec.maxReplicas: Invalid value: 3: must be greater than or equal to" in message


async def test_metrics_that_nobody_provides_are_unavailable_and_read_only(http):
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
    assert (await http.get(path)).status_code == 503
    assert (await http.post(path, json={})).status_code == 405
    assert (await http.get(path, params={"watch": "true"})).status_code == 405
    assert (await http.delete(f"{path}/p")).status_code == 405


async def test_metrics_are_made_when_they_are_asked_for(http, registry):
    from motorpool.api import metrics

    async def pods(namespace):
        assert namespace == "default"
        return [
            {"metadata": {"name": name, "namespace": namespace, "labels": {"app": name}}}
            for name in ("b", "a")
        ]

    registry.virtual.provide(metrics.POD_METRICS, pods)
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
    listed = (await http.get(path)).json()
    assert listed["kind"] == "PodMetricsList"
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b"]
    [found] = (await http.get(path, params={"labelSelector": "app=b"})).json()["items"]
    assert found["metadata"]["name"] == "b"
    assert (await http.get(f"{path}/a")).json()["kind"] == "PodMetrics"
    assert (await http.get(f"{path}/c")).status_code == 404
