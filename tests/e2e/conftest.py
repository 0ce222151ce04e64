from pathlib import Path

import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


@pytest.fixture(scope="session")
def digits():
    """Serves the example model on a platform and waits until it is ready through its Route."""

    def serve(platform):
        built = platform.run("modelcar", "build", str(DIGITS / "model"), "-t", "localhost/digits:1")
        assert built.returncode == 0, built.stderr
        platform.kubectl("apply", "-f", str(DIGITS / "manifests"))
        platform.kubectl("wait", "--for=condition=Ready", "isvc/digits", "--timeout=60s")

    return serve
