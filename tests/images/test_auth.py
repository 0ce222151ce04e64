import base64
from pathlib import Path

import pytest

from motorpool.images.auth import Credentials, auth_files, match, parse_challenge
from motorpool.images.reference import parse


def entry(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:p:w".encode()).decode()}


def test_the_closest_entry_wins() -> None:
    auths = {
        "quay.io": entry("host"),
        "quay.io/me": entry("me"),
        "quay.io/me/model": entry("model"),
    }
    document = {"auths": auths}

    assert match(document, parse("quay.io/me/model:1")) == Credentials("model", "p:w")
    assert match(document, parse("quay.io/me/other:1")) == Credentials("me", "p:w")
    assert match(document, parse("quay.io/metoo/x:1")) == Credentials("host", "p:w")
    assert match(document, parse("ghcr.io/me/model:1")) is None


def test_docker_hub_is_known_by_its_old_name() -> None:
    document = {"auths": {"https://index.docker.io/v1/": entry("hub")}}

    assert match(document, parse("me/model")) == Credentials("hub", "p:w")


def test_helpers_are_not_run_and_empty_entries_do_not_count() -> None:
    document = {"auths": {"quay.io": {}}, "credHelpers": {"quay.io": "evil"}, "credsStore": "x"}

    assert match(document, parse("quay.io/me/model")) is None


def test_a_name_and_a_password_may_stand_apart() -> None:
    document = {"auths": {"quay.io": {"username": "me", "password": "x"}}}

    assert match(document, parse("quay.io/a")) == Credentials("me", "x")


def test_files_are_looked_for_where_podman_and_docker_put_them() -> None:
    home = Path("/home/me")

    assert auth_files({}, home) == [home / ".docker/config.json"]
    assert auth_files({"XDG_RUNTIME_DIR": "/run/user/1"}, home) == [
        Path("/run/user/1/containers/auth.json"),
        home / ".docker/config.json",
    ]
    assert auth_files({"REGISTRY_AUTH_FILE": "/f", "XDG_RUNTIME_DIR": "/r"}, home) == [Path("/f")]


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        ('Basic realm="a b"', "basic", {"realm": "a b"}),
        (
            'Bearer realm="https://a/token",service="s",scope="repository:x:pull,push"',
            "bearer",
            {"realm": "https://a/token", "service": "s", "scope": "repository:x:pull,push"},
        ),
        ("BEARER Realm=https://a , error=insufficient", "bearer",
         {"realm": "https://a", "error": "insufficient"}),
        ("", "", {}),
    ],
)  # fmt: skip
def test_a_challenge_is_read(header: str, scheme: str, parameters: dict[str, str]) -> None:
    challenge = parse_challenge(header)

    assert (challenge.scheme, challenge.parameters) == (scheme, parameters)
