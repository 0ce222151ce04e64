"""Strategic merge of containers and pods, in values."""

from motorpool.controllers.inferenceservice.merge import merged, merged_container


def env(**variables):
    return [{"name": name, "value": value} for name, value in variables.items()]


def test_variables_merge_by_name_and_new_ones_stand_before_what_only_the_runtime_has():
    result = merged({"env": env(a="1", b="2")}, {"env": env(b="3", c="4")})
    assert result["env"] == env(a="1", b="3", c="4")
    assert merged({"env": env(a="1")}, {"env": env(b="2")})["env"] == env(b="2", a="1")


def test_a_variable_has_one_source():
    base = {"env": [{"name": "a", "value": "1"}]}
    source = {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert merged(base, {"env": [source]})["env"] == [source]


def test_a_volume_has_one_source():
    base = {"volumes": [{"name": "v", "emptyDir": {}}]}
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    assert merged(base, {"volumes": [claim]})["volumes"] == [claim]


def test_ports_merge_by_number_and_mounts_by_path():
    base = {"ports": [{"containerPort": 80, "protocol": "TCP"}],
            "volumeMounts": [{"name": "a", "mountPath": "/a"}]}  # fmt: skip
    over = {"ports": [{"containerPort": 80, "name": "http"}],
            "volumeMounts": [{"name": "b", "mountPath": "/a"}]}  # fmt: skip
    assert merged(base, over) == {
        "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}],
        "volumeMounts": [{"name": "b", "mountPath": "/a"}],
    }


def test_lists_without_a_key_are_replaced_and_maps_merge_deeply():
    base = {"tolerations": [{"key": "a"}], "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    over = {"tolerations": [{"key": "b"}], "resources": {"limits": {"cpu": "2"}}}
    assert merged(base, over) == {
        "tolerations": [{"key": "b"}],
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
    }


def test_a_null_removes():
    assert merged({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"c": None}}) == {"b": {}}


def test_arguments_are_appended_a_command_is_replaced_and_the_name_stays():
    base = {"name": "kserve-container", "command": ["x"], "args": ["--a=1"]}
    over = {"name": "", "command": ["y"], "args": ["--a=2"]}
    assert merged_container(base, over) == {
        "name": "kserve-container", "command": ["y"], "args": ["--a=1", "--a=2"],
    }  # fmt: skip


def test_merging_changes_neither_side():
    base, over = {"env": env(a="1")}, {"env": env(a="2")}
    merged(base, over)
    assert (base, over) == ({"env": env(a="1")}, {"env": env(a="2")})
