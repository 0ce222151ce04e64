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
