from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.api.decode import PATCHES, decode, decode_patch
from motorpool.api.errors import BadRequest, UnsupportedMediaType
from motorpool.api.gojson import syntax_error

PROTOBUF = "application/vnd.kubernetes.protobuf"


def test_no_content_type_means_json():
    assert decode(b'{"kind":"A"}', "").object == {"kind": "A"}


def test_parameters_of_the_content_type_do_not_matter():
    assert decode(b"kind: A", "application/yaml; charset=utf-8").object == {"kind": "A"}


def test_a_key_named_twice_is_found_only_when_asked():
    body = b'{"metadata":{"name":"a","name":"b"},"list":[{"x":1,"x":2,"x":3}]}'

    assert decode(body, "application/json").duplicates == []
    decoded = decode(body, "application/json", find_duplicates=True)

    assert decoded.duplicates == ["metadata.name", "list[0].x"]
    assert decoded.object["metadata"] == {"name": "b"}


def test_a_key_named_twice_in_yaml_is_found():
    decoded = decode(b"a: {b: 1, b: 2}", "application/yaml", find_duplicates=True)

    assert decoded.duplicates == ["a.b"]


def test_another_content_type_is_refused():
    with pytest.raises(UnsupportedMediaType) as refusal:
        decode(b"x", "text/plain")

    assert str(refusal.value) == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"{bad json",
            (
                "the object provided is unrecognized (must be of type ConfigMap): couldn't get "
                "version/kind; json parse error: invalid character 'b' looking for beginning of "
                "object key string ({bad json)"
            ),
        ),
        (
            b"",
            (
                "the object provided is unrecognized (must be of type ConfigMap): couldn't get "
                "version/kind; json parse error: unexpected end of JSON input (<empty>)"
            ),
        ),
    ],
)
def test_bytes_that_are_no_json_are_refused_in_the_servers_words(body, message):
    with pytest.raises(BadRequest) as refusal:
        decode(body, "application/json", kind="ConfigMap")

    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[1,2", "unexpected end of JSON input"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"trux", "invalid character 'x' in literal true (expecting 'e')"),
        (b"{}x", "invalid character 'x' after top-level value"),
        (b'"\\q"', "invalid character 'q' in string escape code"),
        (b'{"a":[1,-2.5e3,null,"\\u00e9"]}', ""),
    ],
)
def test_go_words_for_bad_json(body, message):
    assert syntax_error(body) == message


def test_yaml_keeps_times_as_text_and_reads_numbers_as_go_does():
    body = b"a: 2026-01-01\nb: 0644\nc: 1e3\nd: yes\ne: 1:30\n1: x\nf: 1.0.0\ng: '1'\nh: ~\n"

    assert decode(body, "application/yaml").object == {
        "a": "2026-01-01", "b": 420, "c": 1000.0, "d": True, "e": "1:30", "1": "x", "f": "1.0.0",
        "g": "1", "h": None,
    }  # fmt: skip


def test_an_alias_is_a_copy():
    decoded = decode(b"a: &x {b: 1}\nc: *x\n", "application/yaml").object

    assert decoded == {"a": {"b": 1}, "c": {"b": 1}}
    assert decoded["a"] is not decoded["c"]


@pytest.mark.parametrize(
    "body",
    [
        b"a: &a\n  b: *a\n",
        "\n".join(
            ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
            + [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
        ).encode(),
        b"a: 1\n---\nb: 2\n",
        b"a: b: c",
        b"",
        b"a: !!float .nan",
        b"!!python/object/apply:os.system [x]",
    ],
    ids=["cycle", "bomb", "two documents", "syntax", "empty", "no JSON", "code"],
)
def test_yaml_that_cannot_be_an_object_is_refused(body):
    with pytest.raises(BadRequest):
        decode(body, "application/yaml")


def test_a_patch_says_what_it_is():
    with pytest.raises(UnsupportedMediaType) as refusal:
        decode_patch(b"{}", "application/json")
    assert str(refusal.value) == "415: Unsupported Media Type"

    with pytest.raises(UnsupportedMediaType) as refusal:
        decode_patch(
            b"{}",
            "application/strategic-merge-patch+json",
            accepted=tuple(one for one in PATCHES if "strategic" not in one),
        )
    assert str(refusal.value) == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (
            b"{}",
            "application/json-patch+json",
            (
                "error decoding patch: json: cannot unmarshal object into Go value of type "
                "[]handlers.jsonPatchOp"
            ),
        ),
        (
            b"{bad",
            "application/merge-patch+json",
            (
                "error decoding patch: invalid character 'b' looking for beginning of object key "
                "string"
            ),
        ),
    ],
)
def test_a_patch_that_cannot_be_read_is_refused(body, content_type, message):
    with pytest.raises(BadRequest) as refusal:
        decode_patch(body, content_type)

    assert str(refusal.value) == message


def varint(value):
    value &= (1 << 64) - 1
    result = b""
    while value >= 0x80:
        result += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return result + bytes((value,))


def field(number, value):
    """One field of a message: an int, text, bytes or a nested message (a list of fields)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, list):
        value = b"".join(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def envelope(api_version, kind, *fields):
    raw = b"".join(fields)
    return b"k8s\0" + field(1, [field(1, api_version), field(2, kind)]) + field(2, raw)


def test_protobuf_of_go_drops_the_zeros_that_mean_absent():
    metadata = [field(1, "zz"), field(2, ""), field(3, ""), field(5, ""), field(7, 0), field(8, [])]
    body = envelope("v1", "Namespace", field(1, metadata), field(2, []), field(3, [field(1, "")]))

    assert decode(body, PROTOBUF).object == {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "zz"}, "spec": {}, "status": {},
    }  # fmt: skip


def test_protobuf_keeps_a_zero_behind_a_pointer():
    body = envelope("apps/v1", "Deployment", field(2, [field(1, 0), field(5, 0)]))

    assert decode(body, PROTOBUF).object["spec"] == {"replicas": 0}


def test_protobuf_has_maps_quantities_times_and_inlined_messages():
    resources = field(8, [field(1, [field(1, "cpu"), field(2, [field(1, "500m")])])])
    port = [field(1, 1), field(2, 0), field(3, "http")]
    probe = field(11, [field(1, [field(2, [field(1, "/"), field(2, port)])]), field(3, 5)])
    container = field(2, [field(1, "c"), resources, probe])
    volume = field(1, [field(1, "v"), field(2, [field(2, [])])])
    labels = field(11, [field(1, "a"), field(2, "b")])
    metadata = field(1, [labels, field(8, [field(1, 1_700_000_000), field(2, 5)])])
    body = envelope("v1", "Pod", metadata, field(2, [volume, container, field(5, -1)]))

    pod = decode(body, PROTOBUF).object

    assert pod["metadata"] == {"labels": {"a": "b"}, "creationTimestamp": "2023-11-14T22:13:20Z"}
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert pod["spec"]["activeDeadlineSeconds"] == -1
    assert pod["spec"]["containers"] == [
        {
            "name": "c",
            "resources": {"limits": {"cpu": "500m"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "timeoutSeconds": 5},
        }
    ]


def test_protobuf_bytes_become_base64_and_unknown_fields_are_skipped():
    secret = envelope("v1", "Secret", field(2, [field(1, "k"), field(2, b"\x00\x01")]),
                      field(999, "x"), field(998, 7))  # fmt: skip

    assert decode(secret, PROTOBUF).object["data"] == {"k": "AAE="}


def test_delete_options_are_read_whatever_version_they_claim():
    body = envelope("v1", "DeleteOptions", field(1, 0), field(4, "Background"))

    assert decode(body, PROTOBUF).object == {
        "apiVersion": "v1", "kind": "DeleteOptions",
        "gracePeriodSeconds": 0, "propagationPolicy": "Background",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        envelope("v1", "Namespace")[:-2] + b"\xff",
        envelope("v1", "Namespace", b"\x0a\x7f"),
        envelope("v9", "Nope"),
        envelope("v1", "Namespace", field(1, 5)),
        envelope("v1", "Namespace", b"\xff" * 12),
    ],
)
def test_protobuf_that_is_cut_or_wrong_is_a_bad_request(body):
    with pytest.raises(BadRequest):
        decode(body, PROTOBUF)


FIELDS = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=6) | st.text(max_size=3),
    lambda inner: st.lists(st.tuples(st.integers(1, 30), inner), max_size=4),
    max_leaves=15,
)


def message(fields):
    """Hypothesis' tree as fields of a message."""
    if not isinstance(fields, list):
        return fields
    return [field(number, message(value)) for number, value in fields]


@given(
    st.sampled_from([("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Event")]),
    st.lists(st.tuples(st.integers(1, 5), FIELDS), max_size=4),
)
def test_any_protobuf_message_is_read_or_refused(kind, fields):
    body = envelope(*kind, *message(fields))

    with suppress(BadRequest):
        assert decode(body, PROTOBUF).object["kind"] == kind[1]


@given(st.sampled_from(["application/json", "application/yaml", PROTOBUF]), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content_type, body):
    with suppress(BadRequest):
        assert isinstance(decode(body, content_type).object, dict)
    with suppress(BadRequest):
        assert isinstance(decode(b"k8s\0" + body, content_type).object, dict)


@given(st.text("ab:-{}[]&*!'\"# \n1.<", max_size=30))
def test_any_yaml_is_read_or_refused(text):
    with suppress(BadRequest):
        decode(text.encode(), "application/yaml", find_duplicates=True)
