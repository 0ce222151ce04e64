from decimal import Decimal

import pytest

from motorpool.workloads.scheduler.resources import amount, requests_of


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        ("1Gi", "1073741824"),
        ("1.5Gi", "1610612736"),
        ("1G", "1000000000"),
        ("1e3", "1000"),
        ("100n", "1e-7"),
        ("3E", "3e18"),
    ],
)
def test_a_quantity_is_a_number(quantity, number):
    assert amount(quantity) == Decimal(number)


@pytest.mark.parametrize("text", ["", "x", "1Q", "1.2.3", "Gi"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="no quantity"):
        amount(text)


def container(cpu, **more):
    return {"resources": {"requests": {"cpu": cpu}}, **more}


def test_containers_add_up_and_the_largest_init_container_counts_where_it_is_larger():
    spec = {"containers": [container("1"), container("500m")], "initContainers": [container("3")]}

    assert requests_of({"spec": spec}) == {"cpu": 3, "pods": 1}
    spec["initContainers"] = [container("1")]
    assert requests_of({"spec": spec})["cpu"] == Decimal("1.5")


def test_sidecars_run_beside_both():
    spec = {
        "containers": [container("1")],
        "initContainers": [container("1", restartPolicy="Always"), container("2")],
    }

    assert requests_of({"spec": spec})["cpu"] == 3


def test_a_limit_without_a_request_is_the_request():
    spec = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}

    assert requests_of({"spec": spec})["nvidia.com/gpu"] == 1
