import copy
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.api import apps, coordination, core, discovery, scheme
from motorpool.api.pods import pull_policy
from motorpool.api.quantity import BadQuantity, canonical, compare, parse, scaled
from motorpool.api.validation import validate_metadata

DIGEST = "sha256:" + "0" * 64


def texts(errors):
    return [str(error) for error in errors]


def metadata_errors(kind, **metadata):
    return texts(validate_metadata(kind, {"metadata": metadata}, None))


def test_a_name_is_required():
    assert metadata_errors(core.CONFIG_MAP) == [
        "metadata.name: Required value: name or generateName is required"
    ]
    assert metadata_errors(core.CONFIG_MAP, generateName="gen-") == []


@pytest.mark.parametrize(
    ("kind", "name", "start", "pattern"),
    [
        (
            core.CONFIG_MAP,
            "Bad_Name",
            (
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                "characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex"
            ),
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        ),
        (
            core.SERVICE,
            "Bad_1",
            (
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
                "with an alphabetic character, and end with an alphanumeric character "
                "(e.g. 'my-name',  or 'abc-123', regex"
            ),
            "[a-z]([-a-z0-9]*[a-z0-9])?",
        ),
    ],
)
def test_a_bad_name_is_refused_in_the_servers_words(kind, name, start, pattern):
    expected = (
        f"metadata.name: Invalid value: \"{name}\": {start} used for validation is '{pattern}')"
    )

    assert metadata_errors(kind, name=name) == [expected]


def test_bad_labels_are_refused_key_and_value():
    errors = metadata_errors(core.CONFIG_MAP, name="a", labels={"bad key!": "x y"})

    assert errors[0].startswith(
        'metadata.labels: Invalid value: "bad key!": name part must consist of alphanumeric '
        "characters, '-', '_' or '.', and must start and end with an alphanumeric character "
        "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )
    assert errors[1].startswith(
        'metadata.labels: Invalid value: "x y": a valid label must be an empty string or consist'
    )


def test_finalizers_and_owners_have_rules():
    assert metadata_errors(core.CONFIG_MAP, name="a", finalizers=["a.b/c", "orphan"]) == []
    assert metadata_errors(core.CONFIG_MAP, name="a", finalizers=["mine"]) == [
        (
            'metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer '
            "name nor is it fully qualified"
        )
    ]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    assert metadata_errors(core.CONFIG_MAP, name="a", ownerReferences=[owner]) == []
    assert len(metadata_errors(core.CONFIG_MAP, name="a", ownerReferences=[owner, owner])) == 1
    assert metadata_errors(core.CONFIG_MAP, name="a", ownerReferences=[{**owner, "uid": ""}]) == [
        'metadata.ownerReferences.uid: Invalid value: "": uid must not be empty'
    ]


def test_annotations_have_a_size():
    assert metadata_errors(core.CONFIG_MAP, name="a", annotations={"k": "x" * 300_000}) == [
        "metadata.annotations: Too long: may not be more than 262144 bytes"
    ]


def defaulted(kind, obj):
    obj = {"metadata": {"name": "x", "namespace": "default"}, **copy.deepcopy(obj)}
    kind.default(obj)
    return obj


def errors_of(kind, obj, old=None):
    return texts(kind.validate(defaulted(kind, obj), old and defaulted(kind, old)))


def deployment(**spec):
    return {
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
            **spec,
        }
    }


def pod(*containers, **spec):
    return {"spec": {"containers": list(containers), **spec}}


def test_a_deployment_reads_back_with_its_defaults():
    obj = deployment()
    obj["spec"]["template"]["spec"] = {
        "volumes": [{"name": "v"}],
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "ports": [{"name": "http", "containerPort": 80}],
                "readinessProbe": {"httpGet": {"port": "http"}},
            }
        ],
    }

    assert defaulted(apps.DEPLOYMENT, obj)["spec"] == {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [
                    {
                        "name": "c",
                        "image": "nginx",
                        "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                        "resources": {},
                        "readinessProbe": {
                            "httpGet": {"path": "/", "port": "http", "scheme": "HTTP"},
                            "timeoutSeconds": 1,
                            "periodSeconds": 10,
                            "successThreshold": 1,
                            "failureThreshold": 3,
                        },
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                        "imagePullPolicy": "Always",
                    }
                ],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "securityContext": {},
                "schedulerName": "default-scheduler",
            },
        },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
        },
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("x", "Always"),
        ("a:latest", "Always"),
        ("a:1.2", "IfNotPresent"),
        (f"r:5000/a@{DIGEST}", "IfNotPresent"),
        ("r:5000/a", "Always"),
        (f"a:latest@{DIGEST}", "Always"),
    ],
)
def test_an_image_without_policy_is_pulled_as_its_tag_says(image, policy):
    assert pull_policy(image) == policy


def test_a_pod_requests_its_limits_and_says_its_class():
    limits = {"cpu": "1.0", "memory": "1G", "nvidia.com/gpu": 1}
    made = defaulted(core.POD, pod({"name": "c", "image": "x", "resources": {"limits": limits}}))

    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1", "memory": "1G", "nvidia.com/gpu": "1"},
        "requests": {"cpu": "1", "memory": "1G", "nvidia.com/gpu": "1"},
    }
    assert made["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}
    assert made["spec"]["serviceAccountName"] == "default"
    assert [t["key"] for t in made["spec"]["tolerations"]] == [
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
    ]  # fmt: skip


def test_a_service_reads_back_with_its_defaults():
    made = defaulted(core.SERVICE, {"spec": {"ports": [{"port": 80}], "clusterIP": "None"}})

    assert made["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "clusterIP": "None",
        "clusterIPs": ["None"],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    assert made["status"] == {"loadBalancer": {}}
    external = {"spec": {"type": "ExternalName", "externalName": "e.x"}}
    assert defaulted(core.SERVICE, external)["spec"] == {
        "type": "ExternalName", "externalName": "e.x", "sessionAffinity": "None",
    }  # fmt: skip


def test_a_secret_takes_plain_text():
    made = defaulted(core.SECRET, {"stringData": {"a": "x"}, "data": {"b": "eQ=="}})

    assert made["data"] == {"a": "eA==", "b": "eQ=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made


def test_a_namespace_is_labelled_and_keeps_its_empty_finalizers():
    made = defaulted(core.NAMESPACE, {})

    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}
    assert defaulted(core.NAMESPACE, {"spec": {"finalizers": []}})["spec"] == {"finalizers": []}


@pytest.mark.parametrize("kind", [k for k in scheme.KINDS if not k.is_custom], ids=lambda k: k.kind)
def test_defaulting_twice_changes_nothing(kind):
    bodies = {"Deployment": deployment(), "ReplicaSet": deployment(),
              "Pod": pod({"name": "c", "image": "i"}),
              "Service": {"spec": {"ports": [{"port": 1}]}}}  # fmt: skip
    once = defaulted(kind, bodies.get(kind.kind, {}))
    twice = copy.deepcopy(once)
    kind.default(twice)

    assert twice == once


LABELS_DIFFER = (
    'spec.template.metadata.labels: Invalid value: map[string]string{"a":"c"}: `selector` does not '
    "match template `labels`"
)
BAD_PORT = "Invalid value: 0: must be between 1 and 65535, inclusive"
OTHER_TEMPLATE = {
    "metadata": {"labels": {"a": "c"}},
    "spec": {"containers": [{"name": "c"}]},
}


@pytest.mark.parametrize(
    ("kind", "obj", "old", "expected"),
    [
        (
            apps.DEPLOYMENT,
            deployment(template=OTHER_TEMPLATE),
            None,
            [LABELS_DIFFER, "spec.template.spec.containers[0].image: Required value"],
        ),
        (apps.DEPLOYMENT, deployment(), deployment(), []),
        (
            apps.DEPLOYMENT,
            deployment(replicas=-1),
            None,
            ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            apps.DEPLOYMENT,
            deployment(selector={"matchLabels": {"a": "b"}}),
            deployment(selector={"matchLabels": {"a": "old"}}),
            [
                ('spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"a":'
                '"b"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable')
            ],
        ),
        (
            apps.DEPLOYMENT,
            deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
            None,
            [
                ("spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy "
                "`type` is 'Recreate'")
            ],
        ),
        (
            apps.REPLICA_SET,
            {"spec": {"template": deployment()["spec"]["template"]}},
            None,
            ["spec.selector: Required value"],
        ),
        (
            core.POD,
            pod({"name": "c", "image": "i"}, {"name": "c", "image": "i"}),
            None,
            ['spec.containers[1].name: Duplicate value: "c"'],
        ),
        (core.POD, pod(), None, ["spec.containers: Required value"]),
        (
            core.POD,
            pod({"name": "c", "image": "i"}, restartPolicy="Sometimes"),
            None,
            [
                ('spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
                '"Never", "OnFailure"')
            ],
        ),
        (
            core.POD,
            pod({"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
            None,
            ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
        ),
        (
            core.POD,
            pod({"name": "c", "image": "i"},
                volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
            None,
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            core.POD,
            pod({"name": "c", "image": "i",
                 "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}),
            None,
            [
                ('spec.containers[0].resources.requests: Invalid value: "2": must be less than or '
                "equal to cpu limit of 1")
            ],
        ),
        (
            core.POD,
            pod({"name": "c", "image": "j"}, nodeName="n"),
            pod({"name": "c", "image": "i"}),
            [],
        ),
        (
            core.SERVICE,
            {"spec": {"ports": [{"port": 0}, {"port": 5}], "type": "ClusterIP"}},
            None,
            [
                "spec.ports[0].name: Required value",
                f"spec.ports[0].port: {BAD_PORT}",
                f"spec.ports[0].targetPort: {BAD_PORT}",
                "spec.ports[1].name: Required value",
            ],
        ),
        (
            core.SERVICE,
            {"spec": {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}},
            None,
            ['spec.ports[1].name: Duplicate value: "a"'],
        ),
        (core.SERVICE, {}, None, ["spec.ports: Required value"]),
        (
            core.SERVICE,
            {"spec": {"ports": [{"port": 1}], "clusterIP": "10.0.0.2"}},
            {"spec": {"ports": [{"port": 1}], "clusterIP": "10.0.0.1"}},
            [
                'spec.clusterIPs[0]: Invalid value: []string{"10.0.0.2"}: may not change once set'
            ],
        ),
        (
            core.SECRET,
            {"type": "a"},
            {"type": "b"},
            ['type: Invalid value: "a": field is immutable'],
        ),
        (
            core.CONFIG_MAP,
            {"data": {"k": "2"}, "immutable": True},
            {"data": {"k": "1"}, "immutable": True},
            ["data: Forbidden: field is immutable when `immutable` is set"],
        ),
        (
            coordination.LEASE,
            {"spec": {"leaseDurationSeconds": 0}},
            None,
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            discovery.ENDPOINT_SLICE,
            {"addressType": "IPv9", "endpoints": [{"addresses": ["1.1.1.1"]}]},
            None,
            [
                'addressType: Unsupported value: "IPv9": supported values: "FQDN", "IPv4", "IPv6"'
            ],
        ),
    ],
)  # fmt: skip
def test_rules_speak_the_servers_words(kind, obj, old, expected):
    assert errors_of(kind, obj, old) == expected


def test_a_running_pod_keeps_its_command():
    old = pod({"name": "c", "image": "i"}, nodeName="n")
    new = pod({"name": "c", "image": "i", "args": ["x"]}, nodeName="n")

    (error,) = errors_of(core.POD, new, old)

    assert error.startswith("spec: Forbidden: pod updates may not change fields other than ")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("1G", "1G"),
        ("1000", "1k"),
        ("1000m", "1"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("1E", "1E"),
        ("0.1n", "1n"),
        ("-2Gi", "-2Gi"),
        ("0Gi", "0"),
        (2, "2"),
        (0.25, "250m"),
    ],
)
def test_an_amount_has_one_text(text, same):
    assert canonical(text) == same
    assert canonical(same) == same


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1KB", "1..2", "--1", "1e99", "9" * 100])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(BadQuantity):
        parse(text)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "e3"]))
def test_the_canonical_text_is_the_same_amount(number, suffix):
    text = f"{number}{suffix}"

    assert parse(canonical(text)) == parse(text)
    assert compare(text, canonical(text)) == 0


def test_a_percentage_is_a_part_of_the_whole():
    assert scaled("25%", 3, round_up=True) == 1
    assert scaled("25%", 3, round_up=False) == 0
    assert scaled(2, 3, round_up=True) == 2
    with pytest.raises(ValueError, match="neither a number nor percent"):
        scaled("x", 3, round_up=True)
    assert parse("100m") == Decimal("0.1")
