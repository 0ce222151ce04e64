"""Which cluster addresses are given out."""

import random

import pytest

from motorpool.api.clusterips import NETWORK, is_ours
from motorpool.api.errors import ApiError
from motorpool.apiserver.clusterips import BLOCK, CHOSEN, ServiceAddresses


def addresses(data_dir="/a", in_use=frozenset()):
    return ServiceAddresses(data_dir, random.Random(1), lambda: set(in_use))


def offset(address):
    first, *_ = (NETWORK[n] for n in range(0, NETWORK.num_addresses, BLOCK))
    return sum(int(part) << shift for part, shift in zip(
        address.split("."), (24, 16, 8, 0), strict=True)) - int(first)  # fmt: skip


def test_addresses_are_from_the_directorys_block_and_never_twice():
    given = addresses()
    found = [given.allocate() for _ in range(500)]
    assert len(set(found)) == 500
    assert all(map(is_ours, found))
    assert len({offset(address) // BLOCK for address in found}) == 1
    assert min(offset(address) % BLOCK for address in found) >= CHOSEN
    other = addresses("/b").allocate()
    assert offset(other) // BLOCK != offset(found[0]) // BLOCK


def test_an_address_that_something_listens_on_is_passed_over():
    first = addresses().allocate()
    assert addresses(in_use={first}).allocate() != first


def test_a_full_block_is_followed_by_the_next():
    given = addresses()
    found = {given.allocate() for _ in range(BLOCK)}
    assert len(found) == BLOCK
    assert {offset(address) // BLOCK for address in found} == {
        offset(given.own()) // BLOCK, offset(given.own()) // BLOCK + 1,
    }  # fmt: skip


def test_an_address_is_free_again_when_its_service_is_gone():
    given = addresses()
    service = {"metadata": {"name": "s"}, "spec": {"clusterIP": given.allocate()}}
    with pytest.raises(ApiError):
        given.claim(service, service["spec"]["clusterIP"])
    given.release(service)
    given.claim(service, service["spec"]["clusterIP"])


def test_the_apis_own_address_is_the_first_that_nobody_uses():
    own = addresses().own()
    assert own.endswith(".1")
    assert addresses(in_use={own}).own() != own
