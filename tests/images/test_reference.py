import pytest

from motorpool.images.errors import ImageError
from motorpool.images.reference import Reference, is_loopback, parse

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("ovms-resnet50:test", "localhost/ovms-resnet50:test"),
        ("ovms-resnet50", "localhost/ovms-resnet50:latest"),
        ("localhost/ovms-resnet50:test", "localhost/ovms-resnet50:test"),
        ("localhost:5000/a/b/c", "localhost:5000/a/b/c:latest"),
        ("127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1"),
        ("[::1]:5000/a:1", "[::1]:5000/a:1"),
        ("quay.io/me/model__x:v1.0_RC-1", "quay.io/me/model__x:v1.0_RC-1"),
        ("me/model", "docker.io/me/model:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
        (f"quay.io/me/model@sha256:{HEX}", f"quay.io/me/model@sha256:{HEX}"),
        (f"quay.io/me/model:1@sha256:{HEX}", f"quay.io/me/model@sha256:{HEX}"),
    ],
)
def test_a_name_is_completed_as_podman_completes_it(text: str, full: str) -> None:
    assert str(parse(text)) == full


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be lower-case letters"),
        ("oci://quay.io/a", "has a scheme"),
        ("Model:1", "'Model' must be lower case"),
        ("quay.io/a/B", "'B' must be lower case"),
        ("quay.io/a//b", "'' must be"),
        ("quay.io/-a", "'-a' must be"),
        ("quay.io/a..b", "'a..b' must be"),
        ("quay.io/a___b", "'a___b' must be"),
        ("quay.io/a:", "the tag ''"),
        ("quay.io/a:.x", "the tag '.x'"),
        ("quay.io/a:" + "x" * 129, "the tag"),
        ("quay.io/a b", "'a b' must be"),
        ("quay.io/../a", "'..' must be"),
        ("quay_io.x/a", "'quay_io.x' is not a host"),
        ("quay.io/a@", "what follows '@'"),
        ("quay.io/a@sha256:12", "what follows '@'"),
        (f"quay.io/a@sha512:{HEX}", "what follows '@'"),
        (HEX, "64 hex digits"),
        ("quay.io/" + "a" * 250, "longer than 255"),
        ("quay.io/a\n", "must be lower-case"),
    ],
)
def test_what_is_no_name_is_refused_with_the_part_that_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ImageError) as refused:
        parse(text)

    assert refused.value.reason == "InvalidImageName"
    assert why in str(refused.value)


def test_reading_what_was_written_gives_the_same() -> None:
    for text in ("a:1", "me/a", f"[::1]/a@sha256:{HEX}"):
        assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.3.2.1:80", "[::1]:1", "[::1]"]
)
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["quay.io", "10.0.0.1:5000", "localhost.evil.com", "127.0.0.1.nip.io", "[::2]:1"]
)
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_digest_is_what_a_registry_is_asked_for() -> None:
    assert Reference("h", "r", "t", f"sha256:{HEX}").version == f"sha256:{HEX}"
    assert Reference("h", "r", "t").version == "t"
