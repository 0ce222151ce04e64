import pytest

from motorpool.api.meta import ObjectKey
from motorpool.router import annotations
from motorpool.router.table import Cookie

PREDICTOR = ObjectKey("ai-demo", "ovms-resnet50-predictor")


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("30s", 30_000),
        ("500ms", 500),
        ("500", 500),  # no unit means milliseconds
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1us", 1),
        ("100d", 2_147_483_647),
        ("030s", 7),
        ("1.5s", 7),
        ("0", 7),
        ("-1s", 7),
        ("30 s", 7),
        ("", 7),
        (None, 7),
    ],
)
def test_durations(text, expected_ms):
    assert annotations.duration_ms(text, 7) == expected_ms


def test_the_cookie_has_the_name_that_openshift_gives_it():
    assert annotations.cookie(PREDICTOR, {}, secure_only=False) == Cookie(
        "56bb4b6df4f80f0b59f56aa0a5a91c1a"
    )


def test_the_cookie_can_be_named_tuned_and_switched_off():
    notes = {
        "router.openshift.io/cookie_name": "pod",
        "router.openshift.io/cookie-same-site": "Strict",
    }
    expected = Cookie("pod", (("Secure", ""), ("SameSite", "Strict")))
    assert annotations.cookie(PREDICTOR, notes, secure_only=True) == expected
    off = {"haproxy.router.openshift.io/disable_cookies": "TRUE"}
    assert annotations.cookie(PREDICTOR, off, secure_only=True) is None


def test_one_bad_source_voids_the_list():
    def allowed(text):
        return annotations.allowed_sources({"haproxy.router.openshift.io/ip_allowlist": text})

    assert allowed("10.0.0.1 192.168.7.7/16") == ("10.0.0.1/32", "192.168.0.0/16")
    for text in ("10.0.0.1 nonsense", " 10.0.0.1", "10.0.0.1 ", "10.0.0.1  10.0.0.2", ""):
        assert allowed(text) == (), text


def test_a_choice_that_does_not_exist_leaves_the_default():
    balance = "haproxy.router.openshift.io/balance"
    assert annotations.balance({balance: "leastconn"}, "random") == "leastconn"
    assert annotations.balance({balance: "fastest"}, "roundrobin") == "roundrobin"
    headers = "haproxy.router.openshift.io/set-forwarded-headers"
    assert annotations.forwarding({headers: "if-none"}) == "if-none"
    assert annotations.forwarding({headers: "maybe"}) == "append"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("max-age=31536000", True),
        ("max-age=1;includeSubDomains;preload", True),
        ("max-age=1; preload", True),
        ("max-age", False),
        ("max-age=1\r\nx: y", False),
    ],
)
def test_only_a_well_formed_hsts_header_is_sent(text, kept):
    found = annotations.hsts({"haproxy.router.openshift.io/hsts_header": text})
    assert found == (text if kept else "")
