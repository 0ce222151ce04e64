"""Defaulting, validation and columns of serving.kserve.io."""

from datetime import UTC, datetime

import pytest

from motorpool.api import schema, structural
from motorpool.api.kubernetestypes import of as schema_of
from motorpool.api.meta import copy_of
from motorpool.api.serving import CLUSTER_SERVING_RUNTIME, INFERENCE_SERVICE, SERVING_RUNTIME


def isvc(name="iris", /, *, annotations=None, spec=None, **predictor):
    metadata = {"name": name, "namespace": "n"}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor, **(spec or {})},
    }


MODEL = {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://a/b"}


def runtime(**spec):
    body = {"containers": [{"name": "kserve-container", "image": "x"}], **spec}
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime",
            "metadata": {"name": "r", "namespace": "n"}, "spec": body}  # fmt: skip


def admitted(obj, kind=INFERENCE_SERVICE):
    obj = copy_of(obj)
    schema.fill_defaults(obj, schema_of(kind))
    kind.default(obj)
    return obj


def errors(obj, old=None, kind=INFERENCE_SERVICE):
    new = admitted(obj, kind)
    found = [*structural.type_errors(new, schema_of(kind), old),
             *kind.validate(new, old and admitted(old, kind))]  # fmt: skip
    return [str(error) for error in found]


def unknown(obj, kind=INFERENCE_SERVICE):
    return schema.unknown_fields(obj, schema_of(kind))


def mistakes(obj, kind=INFERENCE_SERVICE):
    return [str(error) for error in structural.type_errors(obj, schema_of(kind))]


class TestSchema:
    def test_misspelt_fields_are_named(self):
        obj = isvc(model={**MODEL, "storageUrl": "x", "resources": {"limit": {}}}, minReplica=1,
                   spec={"predictr": {}})  # fmt: skip
        assert sorted(unknown(obj)) == [
            "spec.predictor.minReplica",
            "spec.predictor.model.resources.limit",
            "spec.predictor.model.storageUrl",
            "spec.predictr",
        ]

    def test_misspelt_fields_of_a_runtime_are_named(self):
        found = unknown(runtime(supportedModelFormat=[]), SERVING_RUNTIME)
        assert found == ["spec.supportedModelFormat"]
        found = unknown(runtime(serviceAccountName="x"), SERVING_RUNTIME)
        assert found == ["spec.serviceAccountName"], "a runtime is not a whole pod spec"

    @pytest.mark.parametrize(
        ("obj", "path"),
        [
            (isvc(model={**MODEL, "args": "x"}), "spec.predictor.model.args"),
            (isvc(model=MODEL, minReplicas="1"), "spec.predictor.minReplicas"),
            (isvc(model={**MODEL, "protocolVersion": "v3"}), "spec.predictor.model.protocol"),
            (isvc(model=MODEL, storageUris=[]), "spec.predictor.storageUris"),
            (isvc(model=MODEL, containers=[{"image": "x"}]), "containers[0].name: Required"),
            ({"spec": {}}, "spec.predictor: Required value"),
        ],
    )
    def test_wrong_types_are_named(self, obj, path):
        assert path in mistakes(obj)[0]

    def test_a_port_without_protocol_is_tcp(self):
        obj = admitted(isvc(model={**MODEL, "ports": [{"containerPort": 8080}]}))
        (port,) = obj["spec"]["predictor"]["model"]["ports"]
        assert port == {"containerPort": 8080, "protocol": "TCP"}

    def test_the_status_takes_anything(self):
        assert unknown({**isvc(model=MODEL), "status": {"x": {"y": 1}}}) == []


class TestDefaults:
    @pytest.mark.parametrize(
        ("written", "stored"),
        [(None, "Standard"), ("RawDeployment", "Standard"), ("Serverless", "Knative")],
    )
    def test_the_mode_is_written_in_its_present_spelling(self, written, stored):
        key = "serving.kserve.io/deploymentMode"
        annotations = {key: written} if written else {}
        obj = admitted(isvc(model=MODEL, annotations=annotations))
        assert obj["metadata"]["annotations"][key] == stored

    @pytest.mark.parametrize(
        ("framework", "protocol"), [("sklearn", None), ("onnx", "v2"), ("huggingface", "v2")]
    )
    def test_a_framework_key_becomes_a_model(self, framework, protocol):
        obj = admitted(isvc(**{framework: {"storageUri": "gs://a/b"}}))
        predictor = obj["spec"]["predictor"]
        assert framework not in predictor
        assert predictor["model"]["modelFormat"] == {"name": framework}
        assert predictor["model"].get("protocolVersion") == protocol
        assert obj["metadata"]["annotations"]["modelFormat"] == framework

    def test_applying_a_framework_key_again_changes_the_model(self):
        obj = admitted(isvc(sklearn={"storageUri": "gs://a/b"}))
        obj["spec"]["predictor"]["sklearn"] = {"storageUri": "gs://a/c"}
        model = admitted(obj)["spec"]["predictor"]["model"]
        assert model == {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://a/c"}

    def test_vllm_speaks_v2_and_onnx_as_a_model_does_not_by_itself(self):
        for name, protocol in (("vLLM", "v2"), ("triton", "v2"), ("onnx", None)):
            obj = admitted(isvc(model={"modelFormat": {"name": name}}))
            assert obj["spec"]["predictor"]["model"].get("protocolVersion") == protocol

    def test_the_container_that_serves_has_its_name(self):
        containers = [{"name": "mine", "image": "x"}]
        obj = admitted(
            isvc(containers=containers, spec={"transformer": {"containers": containers}})
        )
        for component in ("predictor", "transformer"):
            assert obj["spec"][component]["containers"][0]["name"] == "kserve-container"

    def test_defaulting_twice_is_defaulting_once(self):
        once = admitted(isvc(sklearn={"storageUri": "gs://a/b"}))
        assert admitted(once) == once


def scaled(scaler, **predictor):
    annotations = {"serving.kserve.io/autoscalerClass": scaler}
    return isvc(model=MODEL, annotations=annotations, **predictor)


def resource(name, **target):
    return {"metrics": [{"type": "Resource", "resource": {"name": name, "target": target}}]}


class TestValidation:
    def test_a_plain_model_is_accepted(self):
        assert errors(isvc(model=MODEL)) == []
        assert errors(isvc(model={**MODEL, "name": ""})) == []
        assert errors(isvc("a" * 48, model=MODEL)) == []

    @pytest.mark.parametrize(
        ("obj", "text"),
        [
            (isvc("1iris", model=MODEL), 'metadata.name: Invalid value: "1iris"'),
            (isvc(sklearn={}, xgboost={}), "exactly one of [sklearn"),
            (isvc(model={**MODEL, "name": "x"}), "spec.predictor.model.name: Forbidden"),
            (isvc(model=MODEL, minReplicas=-1), "minReplicas: Invalid value: -1"),
            (scaled("kpa"), 'Unsupported value: "kpa"'),
            (scaled("hpa", scaleTarget=101), "between 1 and 100"),
            (scaled("hpa", scaleTarget=0, scaleMetric="memory"), "between 1 and 100"),
            (scaled("hpa", scaleMetric="rps"), "scaleMetric"),
            (scaled("hpa", autoScaling={"metrics": [{"type": "External"}]}),
             'metrics[0].type: Unsupported value: "External"'),
            (scaled("keda", scaleMetric="cpu"), "use autoScaling.metrics with keda"),
            (scaled("keda", autoScaling=resource("cpu", type="AverageValue")),
             'target.type: Unsupported value: "AverageValue"'),
            (scaled("keda", autoScaling=resource("memory", type="Value")), "target.type"),
            (scaled("keda", autoScaling=resource("cpu", type="Utilization",
                                                 averageUtilization=101)), "between 1 and 100"),
            (scaled("keda", autoScaling=resource("memory", type="AverageValue",
                                                 averageValue="1Ki")), "must be at least 1Mi"),
            (scaled("keda", autoScaling={"metrics": [{"type": "External"}]}),
             "external.metric.query: Required"),
            (scaled("keda", autoScaling={"metrics": [{"type": "PodMetric"}]}),
             "podmetric.target.value: Required"),
            (isvc(model={**MODEL, "storageUri": "pvc://a"}, workerSpec={}),
             "must be none with several nodes"),
            (isvc(model=MODEL, spec={"canary": [{"predictor": {}}]}), "spec.canary: Forbidden"),
        ],
    )  # fmt: skip
    def test_a_mistake_is_refused_with_its_place(self, obj, text):
        found = errors(obj)
        assert any(text in error for error in found), found

    def test_an_autoscaler_that_is_not_named_has_no_rules(self):
        assert errors(isvc(model=MODEL, scaleMetric="concurrency", scaleTarget=500)) == []

    def test_what_keda_takes_is_accepted(self):
        prometheus = {"metric": {"backend": "prometheus", "query": "up"}, "target": {"value": "5"}}
        metrics = [*resource("cpu", type="Utilization", averageUtilization=60)["metrics"],
                   *resource("memory", type="AverageValue", averageValue="1Gi")["metrics"],
                   {"type": "External", "external": prometheus}]  # fmt: skip
        assert errors(scaled("keda", autoScaling={"metrics": metrics}, minReplicas=0)) == []
        assert errors(scaled("hpa", scaleMetric="memory", scaleTarget=150)) == []

    def test_the_recorded_mode_does_not_change_but_its_spelling_may(self):
        key = "serving.kserve.io/deploymentMode"
        old = {**isvc(model=MODEL), "status": {"deploymentMode": "Standard"}}
        assert errors(isvc(model=MODEL, annotations={key: "RawDeployment"}), old) == []
        (error,) = errors(isvc(model=MODEL, annotations={key: "Serverless"}), old)
        assert "cannot change from Standard to Knative" in error

    def test_the_predictors_name_changes_only_with_its_storage(self):
        old = isvc(model=MODEL)
        (error,) = errors(isvc(model=MODEL, name="blue"), old)
        assert error.startswith("spec.predictor.name: Forbidden")
        assert errors(isvc(model={**MODEL, "storageUri": "gs://a/c"}, name="blue"), old) == []

    def test_what_is_being_deleted_is_not_held_up(self):
        obj = isvc(model=MODEL, minReplicas=-1)
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert errors(obj, obj) == []


class TestRuntimeValidation:
    FORMATS = (
        {"name": "a", "autoSelect": True, "priority": 1},
        {"name": "a", "version": "2", "autoSelect": True, "priority": 2},
    )

    def test_a_format_has_one_priority(self):
        (error,) = errors(runtime(supportedModelFormats=list(self.FORMATS)), kind=SERVING_RUNTIME)
        assert error.startswith("spec.supportedModelFormats: Invalid value")

    def test_a_disabled_runtime_is_not_checked(self):
        obj = runtime(supportedModelFormats=list(self.FORMATS), disabled=True)
        assert errors(obj, kind=SERVING_RUNTIME) == []

    def test_workers_keep_the_platforms_variables(self):
        worker = {"containers": [{"name": "w", "env": [{"name": "TENSOR_PARALLEL_SIZE"}]}],
                  "tensorParallelSize": 0}  # fmt: skip
        found = errors(runtime(workerSpec=worker), kind=SERVING_RUNTIME)
        assert len(found) == 2
        assert any("TENSOR_PARALLEL_SIZE may not be set" in error for error in found)


class TestColumns:
    NOW = datetime(2026, 1, 1, tzinfo=UTC)

    def row(self, kind, obj):
        return {column.name: column.cell(obj, self.NOW) for column in kind.columns}

    def test_of_an_inference_service(self):
        obj = isvc(model=MODEL)
        obj["metadata"]["creationTimestamp"] = "2025-12-31T23:59:00Z"
        conditions = [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]
        obj["status"] = {"url": "http://x", "conditions": conditions}
        row = self.row(INFERENCE_SERVICE, obj)
        assert list(row) == ["URL", "Ready", "Prev", "Latest", "PrevRolledoutRevision",
                             "LatestReadyRevision", "Age"]  # fmt: skip
        assert (row["URL"], row["Ready"], row["Prev"]) == ("http://x", "True", None)

    @pytest.mark.parametrize("kind", [SERVING_RUNTIME, CLUSTER_SERVING_RUNTIME])
    def test_of_a_runtime_shows_the_first_of_several_formats(self, kind):
        formats = [{"name": "a"}, {"name": "b"}]
        row = self.row(kind, runtime(supportedModelFormats=formats, disabled=False))
        assert list(row) == ["Disabled", "ModelType", "Containers", "Age"]
        assert (row["ModelType"], row["Containers"]) == ("a", "kserve-container")
