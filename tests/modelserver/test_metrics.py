import pytest

from motorpool.modelserver import flags
from motorpool.modelserver.metrics import (
    BOUNDS,
    INFERENCE_TIME,
    REQUESTS_SUCCESS,
    Registry,
    VersionMetrics,
)


def test_bounds_are_those_of_the_model_server():
    assert BOUNDS[:9] == (10, 18, 32, 58, 104, 188, 340, 612, 1101)
    assert BOUNDS[-1] == 1474755971


def test_every_series_exists_from_the_start_at_zero():
    registry = Registry()

    VersionMetrics(registry, "m", 1)

    lines = registry.exposition().splitlines()
    assert lines[:4] == [
        "# HELP ovms_requests_success Number of successful requests to a model or a DAG.",
        "# TYPE ovms_requests_success counter",
        (
            'ovms_requests_success{api="KServe",interface="REST",method="ModelInfer",'
            'name="m",version="1"} 0'
        ),
        (
            'ovms_requests_success{api="KServe",interface="REST",method="ModelMetadata",'
            'name="m",version="1"} 0'
        ),
    ]
    assert (
        'ovms_requests_fail{api="KServe",interface="gRPC",method="ModelReady",name="m"} 0' in lines
    )
    assert 'ovms_request_time_us_bucket{interface="REST",name="m",version="1",le="10"} 0' in lines
    assert not any(line.startswith("ovms_infer_req_active") for line in lines)


def test_a_histogram_counts_from_below():
    registry = Registry()
    series = registry.histogram(INFERENCE_TIME, name="m")

    for value in (10, 11, 2e9):
        series.observe(value)

    lines = registry.exposition().splitlines()
    assert lines[2:7] == [
        'ovms_inference_time_us_count{name="m"} 3',
        'ovms_inference_time_us_sum{name="m"} 2000000021',
        'ovms_inference_time_us_bucket{name="m",le="10"} 1',
        'ovms_inference_time_us_bucket{name="m",le="18"} 2',
        'ovms_inference_time_us_bucket{name="m",le="32"} 2',
    ]
    assert lines[-1] == 'ovms_inference_time_us_bucket{name="m",le="+Inf"} 3'


@pytest.mark.parametrize("name", ["ovms_infer_req_active", "ovms_streams"])
def test_a_list_replaces_the_families_that_are_served_by_default(name):
    registry = Registry([name])

    VersionMetrics(registry, "m", 1)

    assert registry.exposition().splitlines()[1:] == [
        f"# TYPE {name} gauge",
        f'{name}{{name="m",version="1"}} 0',
    ]


def test_a_retired_version_is_forgotten_and_its_model_is_not():
    registry = Registry()
    VersionMetrics(registry, "m", 1)

    registry.drop(name="m", version="1")

    assert 'version="1"' not in registry.exposition()
    assert 'method="ModelReady"' in registry.exposition()


def test_labels_are_escaped():
    registry = Registry()

    registry.value(REQUESTS_SUCCESS, name='a"\\\n')

    assert registry.exposition().endswith('{name="a\\"\\\\\\n"} 0\n')


def test_families_of_graphs_may_be_asked_for_and_have_no_series():
    assert Registry(["ovms_current_graphs"]).exposition() == ""
    argv = ["--model_name=m", "--model_path=p", "--rest_port=1", "--metrics_enable"]
    asked = flags.parse([*argv, "--metrics_list=ovms_current_graphs,ovms_streams"])
    assert asked.metrics_list == ("ovms_current_graphs", "ovms_streams")
