"""Containers as programs, and the local images table, with values."""

import base64
from pathlib import Path
from typing import Any

import pytest

from motorpool.api.meta import Object
from motorpool.base.loopback import first_offset
from motorpool.node.addresses import BLOCK, NETWORK, Addresses
from motorpool.node.command import (
    ConfigError,
    Mount,
    Surroundings,
    bound,
    environment,
    expanded,
    program,
    references_of,
    translated,
)
from motorpool.node.downward import FieldError, field_value, resource_value
from motorpool.node.localimages import OVMS, VLLM, LocalImage, TableError, find, table_of
from motorpool.node.table import ImagesTable

POD = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "x"}},
    "spec": {"nodeName": "n"},
}
MODELS = Mount("/mnt/models", "/data/images/trees/1/models")


def around(**fields: Any) -> Surroundings:
    plain = {"pod_ip": "127.64.0.9", "host_ip": "127.0.0.1", "python": "/py", "directory": "/w"}
    return Surroundings(**{**plain, **fields})


def config_map(**data: str) -> Object:
    return {"data": data}


def secret(**data: str) -> Object:
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/mnt/models", "/data/images/trees/1/models"),
        ("/mnt/models/1/model.xml", "/data/images/trees/1/models/1/model.xml"),
        ("--model_path=/mnt/models", "--model_path=/data/images/trees/1/models"),
        ("ls /mnt/models; cat '/mnt/models/a'",
         "ls /data/images/trees/1/models; cat '/data/images/trees/1/models/a'"),
        ("/mnt/models2", "/mnt/models2"),
        ("/mnt/models.bak", "/mnt/models.bak"),
        ("/other/mnt/models", "/other/mnt/models"),
        ("/mnt", "/mnt"),
    ],
)  # fmt: skip
def test_mount_paths_become_directories(text: str, expected: str) -> None:
    assert translated(text, [MODELS]) == expected


def test_the_longest_mount_path_wins() -> None:
    mounts = [Mount("/mnt", "/m"), MODELS]
    assert translated("/mnt/models/x /mnt/y", mounts) == "/data/images/trees/1/models/x /m/y"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("x$(A)y", "x1y"), ("$$(A)", "$(A)"), ("$(NONE)", "$(NONE)"), ("$A", "$A")],
)
def test_variables_expand_as_kubernetes_does(text: str, expected: str) -> None:
    assert expanded(text, {"A": "1"}) == expected


def test_our_server_listens_at_the_pods_address() -> None:
    args = ["--rest_bind_address=0.0.0.0", "--grpc_bind_address", "::", "--port=1"]
    flags = OVMS.bind_flags
    expected = ["--rest_bind_address=127.64.0.9", "--grpc_bind_address", "127.64.0.9", "--port=1"]
    assert bound(args, flags, "127.64.0.9") == expected
    assert bound([], flags, "127.64.0.9") == [f"{flag}=127.64.0.9" for flag in flags]
    kept = ["--rest_bind_address=127.0.0.1", "--grpc_bind_address=10.0.0.1"]
    assert bound(kept, flags, "127.64.0.9") == kept


def test_the_shipped_runtime_of_the_guide() -> None:
    container = {
        "args": ["--model_name=m", "--rest_port=8888", "--model_path=/mnt/models",
                 "--grpc_bind_address=0.0.0.0", "--rest_bind_address=0.0.0.0"],
        "command": ["/ovms/bin/ovms"],
    }  # fmt: skip
    found = program(container, POD, OVMS, around(mounts=[MODELS]))
    assert found.argv[:3] == ["/py", "-m", "motorpool.modelserver"]
    assert found.argv[3:] == [
        "--model_name=m", "--rest_port=8888", "--model_path=/data/images/trees/1/models",
        "--grpc_bind_address=127.64.0.9", "--rest_bind_address=127.64.0.9",
    ]  # fmt: skip
    assert found.fork is not None
    assert found.fork.argv == found.argv[3:]
    assert found.env["MOTORPOOL_POD_IP"] == "127.64.0.9"
    assert found.cwd == "/w"


def test_the_containers_own_command_is_kept_where_the_entry_says_so() -> None:
    entry = LocalImage(("x",), keep_command=True)
    container = {"command": ["serve", "$(POD_IP)"], "args": ["$(A)"], "workingDir": "/mnt/models/1",
                 "env": [{"name": "A", "value": "/mnt/models"}]}  # fmt: skip
    found = program(container, POD, entry, around(mounts=[MODELS]))
    assert found.argv == ["serve", "127.64.0.9", "/data/images/trees/1/models"]
    assert found.env["A"] == "/data/images/trees/1/models"
    assert found.cwd == "/data/images/trees/1/models/1"
    with pytest.raises(ConfigError, match="no command"):
        program({}, POD, entry, around())


def test_env_reads_from_every_source_and_later_wins() -> None:
    absent = {"name": "t", "key": "k", "optional": True}
    container = {
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}, {"secretRef": {"name": "s"}}],
        "env": [
            {"name": "key", "value": "own"},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a"}}},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "E", "value": "$(B)-$(D)"},
            {"name": "F", "valueFrom": {"secretKeyRef": absent}},
        ],
    }  # fmt: skip
    places = around(config_maps={"m": config_map(a="1")}, secrets={"s": secret(key="k")})
    assert environment(container, POD, places) == {
        "P_a": "1", "key": "own", "B": "1", "C": "k", "D": "127.64.0.9", "E": "1-127.64.0.9",
    }  # fmt: skip
    references = references_of(container)
    assert (references.config_maps, references.secrets) == ({"m"}, {"s", "t"})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "x", "key": "k"}}, 'configmap "x" not found'),
        ({"secretKeyRef": {"name": "x", "key": "k"}}, 'secret "x" not found'),
        ({"configMapKeyRef": {"name": "m", "key": "k"}}, "couldn't find key k in ConfigMap ns/m"),
        ({"fieldRef": {"fieldPath": "spec.none"}}, "unsupported fieldPath: spec.none"),
    ],
)
def test_what_is_missing_has_a_name(source: Object, message: str) -> None:
    container = {"env": [{"name": "A", "valueFrom": source}]}
    with pytest.raises(ConfigError) as caught:
        environment(container, POD, around(config_maps={"m": config_map(a="1")}))
    assert str(caught.value) == message


def test_a_pod_knows_itself() -> None:
    def value(path: str) -> str:
        return field_value(POD, path, pod_ip="1", host_ip="2")

    assert value("metadata.labels['app']") == "x"
    assert value("metadata.labels") == 'app="x"'
    assert (value("spec.nodeName"), value("status.hostIP")) == ("n", "2")
    container = {"resources": {"limits": {"memory": "1Gi", "cpu": "1500m"}}}
    assert resource_value(container, {"resource": "limits.memory", "divisor": "1Mi"}, {}) == "1024"
    assert resource_value(container, {"resource": "limits.cpu"}, {}) == "2"
    assert resource_value({}, {"resource": "limits.cpu"}, {"cpu": "4"}) == "4"
    with pytest.raises(FieldError):
        resource_value(container, {"resource": "limits.memory", "divisor": "x"}, {})


@pytest.mark.parametrize(
    "image",
    [
        "ovms-image",
        "openvino/model_server:2025.2",
        "docker.io/openvino/model_server:latest-gpu",
        "quay.io/modh/openvino_model_server:stable",
        "quay.io/modh/openvino_model_server@sha256:00ff",
        "registry.redhat.io/rhoai/odh-openvino-model-server-rhel9:v2",
    ],
)
def test_ovms_images_are_ours(image: str) -> None:
    assert find(image, [OVMS, VLLM], lambda _: False) == OVMS


def test_vllm_images_need_vllm() -> None:
    for image in ("vllm/vllm-openai:latest", "quay.io/modh/vllm:rhoai-2.20-cuda", "vllm-cpu-image"):
        assert find(image, [OVMS, VLLM], lambda name: name == "vllm") == VLLM
        assert find(image, [OVMS, VLLM], lambda _: False) is None


def test_names_match_as_registries_see_them() -> None:
    entry = LocalImage(("python",), ("python3",))
    for image in ("python", "python:3.12", "docker.io/library/python", "docker.io/python@sha256:0"):
        assert find(image, [entry], lambda _: True) == entry
    assert find("acme/python", [entry], lambda _: True) is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"images": 3}, "images: must be a list of entries"),
        ({"images": [{"match": "x"}]}, "images[0].match: must be of type list"),
        ({"images": [{"match": ["x"], "comand": []}]}, "images[0].comand: no such field"),
        ({"images": [{"match": ["x"]}]}, "images[0].command: required"),
        ({"images": [{"match": [], "command": ["x"]}]}, "images[0].match: at least one"),
        ({"images": [{"match": ["x"], "command": [1]}]}, "images[0].command: must hold strings"),
    ],
)
def test_a_bad_table_names_the_place(document: Object, message: str) -> None:
    with pytest.raises(TableError) as caught:
        table_of(document)
    assert str(caught.value).startswith(message)


def test_the_users_file_is_read_again_and_a_bad_one_keeps_the_old_table(tmp_path: Path) -> None:
    complaints: list[str] = []
    table = ImagesTable(tmp_path, complaints.append)
    assert table.find("acme") is None
    table.path.write_text("images:\n- match: [acme]\n  command: [serve]\n")
    assert table.reload()
    assert table.find("acme") is not None
    table.path.write_text("images: [")
    assert not table.reload()
    assert table.find("acme") is not None
    assert len(complaints) == 1
    assert "local-images.yaml" in complaints[0]
    table.path.unlink()
    assert table.reload()
    assert table.find("acme") is None


def test_addresses_are_from_the_range_and_never_twice(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    given = [addresses.allocate() for _ in range(20)]
    assert len(set(given)) == 20
    again = Addresses(tmp_path, given)
    assert again.allocate() not in given
    first, other = (first_offset(name, NETWORK, BLOCK) for name in ("/a", "/b"))
    assert first != other
    assert 0 <= first < NETWORK.num_addresses
