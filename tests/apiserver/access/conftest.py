import pytest

from motorpool.apiserver.access.accounts import AccountTokens
from motorpool.apiserver.access.signing import SigningKey


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory):
    """Made once: it takes a moment."""
    file = tmp_path_factory.mktemp("key") / "sa.key"
    SigningKey.ensure(file)
    return file.read_bytes()


@pytest.fixture
def accounts(registry, signing_key, tmp_path):
    """With the key that the application has too."""
    file = tmp_path / "sa.key"
    file.write_bytes(signing_key)
    return AccountTokens(registry, file)
