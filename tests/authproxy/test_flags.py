"""The command line and the file of rules."""

import pytest

from motorpool.authproxy.flags import Address, UsageError, parse
from motorpool.authproxy.rules import RulesError, read, rule_of

NEEDED = ["--config-file=/c", "--tls-cert-file=/t", "--tls-private-key-file=/k"]
UPSTREAM = "--upstream=http://localhost:8888"


def test_the_flags_of_a_protected_pod():
    settings = parse(
        [
            "--secure-listen-address=:8443",
            "--proxy-endpoints-port=8643",
            "--auth-header-fields-enabled=true",
            "--upstream-timeout=90s",
            "--v=4",
            UPSTREAM,
            *NEEDED,
        ],
        pod_ip="127.64.0.9",
    )
    assert settings.listen == Address("127.64.0.9", 8443)
    assert settings.upstream == Address("127.64.0.9", 8888), "a pod's localhost is the pod"
    assert settings.health_port == 8643
    assert (settings.user_header, settings.groups_header) == ("x-remote-user", "x-remote-groups")
    assert settings.upstream_timeout_s == 90.0
    assert not settings.speaks_h2c


def test_where_a_pod_has_a_network_of_its_own_localhost_is_localhost():
    settings = parse([UPSTREAM, "-upstream-force-h2c", *NEEDED])
    assert settings.listen == Address("0.0.0.0", 8443)
    assert settings.upstream == Address("localhost", 8888)
    assert settings.speaks_h2c
    assert settings.user_header == ""


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (NEEDED, "--upstream"),
        ([UPSTREAM, *NEEDED[1:]], "--config-file is required"),
        ([UPSTREAM, *NEEDED, "--client-ca-file=/x"], "unrecognized arguments"),
        ([UPSTREAM, *NEEDED, "--secure-listen-address=8443"], "no HOST:PORT"),
        (["--upstream=https://localhost:1", *NEEDED], "no http://HOST:PORT"),
        (["--upstream=http://localhost:1/path", *NEEDED], "no http://HOST:PORT"),
        ([UPSTREAM, *NEEDED, "--upstream-timeout=soon"], "no time"),
        ([UPSTREAM, *NEEDED, "--auth-header-fields-enabled=maybe"], "neither true nor false"),
    ],
)
def test_what_it_does_not_know_it_does_not_ignore(argv, text):
    with pytest.raises(UsageError, match=text):
        parse(argv)


RULE = {"resource": "inferenceservices", "verb": "get", "name": "digits", "namespace": "ns",
        "apiGroup": "serving.kserve.io", "apiVersion": "v1beta1"}  # fmt: skip


def test_the_rule_is_that_of_a_subject_access_review():
    rule = rule_of({"authorization": {"resourceAttributes": RULE}})
    assert rule.attributes == {
        "resource": "inferenceservices", "verb": "get", "name": "digits", "namespace": "ns",
        "group": "serving.kserve.io", "version": "v1beta1",
    }  # fmt: skip
    assert str(rule) == "get inferenceservices/digits in namespace ns"


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"authorization": {}},
        {"authorization": {"resourceAttributes": {}}},
        {"authorization": {"resourceAttributes": {"resource": "pods"}}},
        {"authorization": {"resourceAttributes": {**RULE, "path": "/x"}}},
        {"authorization": {"resourceAttributes": RULE, "static": []}},
        {"authorization": {"resourceAttributes": RULE}, "more": 1},
    ],
)
def test_a_rule_that_is_half_understood_is_refused(document):
    with pytest.raises(RulesError):
        rule_of(document)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RulesError, match=r"gone\.yaml"):
        read(tmp_path / "gone.yaml")
