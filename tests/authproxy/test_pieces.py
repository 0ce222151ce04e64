"""What Envoy is told: answers, the certificate, the configuration's promises."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from motorpool.authproxy import envoy
from motorpool.authproxy.certificate import BadCertificate, Certificate, discovery
from motorpool.authproxy.flags import parse
from motorpool.authproxy.judge import BAD_TOKEN, Verdict
from motorpool.authproxy.listener import reply_of
from motorpool.authproxy.reviews import Caller
from motorpool.base.certificates import Authority
from tests.authproxy.running import write_certificate

ARGV = ["--config-file=/c", "--tls-cert-file=/t", "--tls-private-key-file=/k",
        "--upstream=http://127.0.0.1:9"]  # fmt: skip
SETTINGS = parse([*ARGV, "--auth-header-fields-enabled=true"])


def test_a_refusal_says_why_and_how_to_come_in():
    reply = reply_of(BAD_TOKEN, SETTINGS).decode()
    assert reply.startswith("HTTP/1.1 401 Unauthorized\r\n")
    assert "www-authenticate: Bearer\r\n" in reply
    assert reply.endswith("the bearer token is not valid, or no longer\n")


def test_the_server_is_told_who_calls_only_where_it_is_asked_for():
    verdict = Verdict(200, "", Caller("alice", ("a", "b")))
    told = reply_of(verdict, SETTINGS).decode()
    assert "x-remote-user: alice\r\n" in told
    assert "x-remote-groups: a|b\r\n" in told
    assert "x-remote" not in reply_of(verdict, parse(ARGV)).decode()


@pytest.mark.parametrize("name", ["eve\r\nx-remote-groups: system:masters", "ève", "a\x00"])
def test_a_name_that_no_header_can_carry_lets_nobody_through(name):
    reply = reply_of(Verdict(200, "", Caller(name)), SETTINGS)
    assert reply.startswith(b"HTTP/1.1 403")
    assert b"masters" not in reply


def test_new_files_are_a_new_certificate_and_bad_ones_are_not(tmp_path):
    authority = Authority.new("tests", datetime.now(UTC))
    told = []
    write_certificate(tmp_path, authority)
    certificate = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key", told.append)
    first = certificate.now()
    assert certificate.now() is first

    kept = (tmp_path / "tls.key").read_bytes()
    write_certificate(tmp_path, authority)
    (tmp_path / "tls.key").write_bytes(kept)  # of the pair before
    assert certificate.now() is first
    assert certificate.now() is first
    assert len(told) == 1, "once"

    write_certificate(tmp_path, authority)
    assert certificate.now().version != first.version
    secret = discovery(certificate.now())["resources"][0]["tls_certificate"]
    assert secret["private_key"] == {"inline_string": certificate.now().key}


def test_without_a_certificate_it_does_not_begin(tmp_path):
    with pytest.raises(BadCertificate):
        Certificate(Path("/none"), Path("/none"), print)


def test_whatever_fails_nothing_is_let_through():
    listener = envoy.bootstrap(SETTINGS)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    names = [each["name"].rsplit(".", 1)[1] for each in manager["http_filters"]]
    assert names == ["header_mutation", "ext_authz", "router"]
    check = manager["http_filters"][1]["typed_config"]
    assert check["failure_mode_allow"] is False
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert "typed_per_filter_config" not in route, "no path is open unasked"


def test_ignored_paths_are_open_and_no_others():
    settings = parse([*ARGV, "--ignore-paths=/metrics, /health"])
    listener = envoy.bootstrap(settings)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    *open_to_all, checked = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert [each["match"] for each in open_to_all] == [{"path": "/metrics"}, {"path": "/health"}]
    assert "typed_per_filter_config" not in checked
