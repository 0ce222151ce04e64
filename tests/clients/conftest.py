"""A platform for each module, for clients that others wrote."""

import pytest

from tests.platform import running


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("clients") / "data") as platform:
        yield platform


@pytest.fixture(scope="module")
def kubeconfig(platform):
    return str(platform.data_dir / "kubeconfig")
