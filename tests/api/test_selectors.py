import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.api import core
from motorpool.api.errors import BadRequest
from motorpool.api.selectors import FieldSelector, LabelSelector

PODS = {f"p{i}": {"app": "x", "i": str(i)} for i in range(5)}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", "p0 p1 p2 p3 p4"),
        ("app=x,i!=1", "p0 p2 p3 p4"),
        ("i in (1,2)", "p1 p2"),
        ("i notin (1,2)", "p0 p3 p4"),
        ("!zz", "p0 p1 p2 p3 p4"),
        ("app", "p0 p1 p2 p3 p4"),
        ("i>2", "p3 p4"),
        ("i<2", "p0 p1"),
        ("app==x", "p0 p1 p2 p3 p4"),
        (" app = x ", "p0 p1 p2 p3 p4"),
        ("app=", ""),
        ("x/y=z", ""),
        ("app in ()", ""),
        ("zz!=1", "p0 p1 p2 p3 p4"),
    ],
)
def test_a_label_selector_chooses_what_the_real_server_chooses(text, chosen):
    selector = LabelSelector.parse(text)

    assert [name for name, labels in PODS.items() if selector.matches(labels)] == chosen.split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("i in (1", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app=x,", "found '', expected: identifier after ','"),
        ("(", "found '(', expected: !, identifier, or 'end of string'"),
        (
            "bad key=1",
            "unable to parse requirement: found 'key', expected: in, notin, =, ==, !=, gt, lt",
        ),
    ],
)
def test_a_bad_label_selector_is_refused_in_the_servers_words(text, message):
    with pytest.raises(BadRequest) as refusal:
        LabelSelector.parse(text)

    assert str(refusal.value) == message


def test_the_object_form_prints_as_in_scale_status():
    selector = LabelSelector.from_object(
        {
            "matchLabels": {"b": "1", "a": "2"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["y", "x"]},
                {"key": "d", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist"},
            ],
        }
    )

    assert str(selector) == "a=2,b=1,c in (x,y),d,!e"
    assert selector.matches({"a": "2", "b": "1", "c": "x", "d": ""})


def test_no_selector_matches_nothing_and_an_empty_one_everything():
    assert not LabelSelector.from_object(None).matches({})
    assert LabelSelector.from_object({}).matches({"a": "b"})


_KEYS = st.from_regex(r"[a-z]([a-z0-9]{0,5})?", fullmatch=True)
_VALUES = st.from_regex(r"([a-z0-9]{1,5})?", fullmatch=True)
_TERMS = st.one_of(
    _KEYS.filter(lambda key: key not in ("in", "notin")),
    _KEYS.map(lambda key: f"!{key}"),
    st.tuples(_KEYS, st.sampled_from(["=", "==", "!="]), _VALUES).map("".join),
    st.tuples(_KEYS, st.sampled_from(["in", "notin"]), st.lists(_VALUES, min_size=1)).map(
        lambda term: f"{term[0]} {term[1]} ({','.join(term[2])})"
    ),
    st.tuples(_KEYS, st.sampled_from("<>"), st.integers(min_value=0).map(str)).map("".join),
)


@given(st.lists(_TERMS).map(",".join), st.dictionaries(_KEYS, _VALUES))
def test_what_a_selector_prints_means_the_same(text, labels):
    selector = LabelSelector.parse(text)
    again = LabelSelector.parse(str(selector))

    assert str(again) == str(selector)
    assert again.matches(labels) == selector.matches(labels)


def pod(name, phase="Running"):
    return {"metadata": {"name": name, "namespace": "default"}, "status": {"phase": phase}}


def test_a_field_selector_compares_fields():
    selector = FieldSelector.parse("metadata.name!=a,metadata.namespace==default", core.POD)

    assert not selector.matches(pod("a"))
    assert selector.matches(pod("b"))


def test_a_demanded_name_is_known():
    assert FieldSelector.parse("metadata.name=a", core.POD).name == "a"
    assert FieldSelector.parse("metadata.name!=a", core.POD).name is None


def test_two_names_match_nothing():
    selector = FieldSelector.parse("metadata.name=p1,metadata.name=p2", core.CONFIG_MAP)

    assert not selector.matches(pod("p1"))


def test_escapes_in_values_are_undone():
    assert FieldSelector.parse(r"metadata.name=a\,b\=c", core.POD).name == "a,b=c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data.a=b",
            '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
    ],
)
def test_a_bad_field_selector_is_refused_in_the_servers_words(text, message):
    with pytest.raises(BadRequest) as refusal:
        FieldSelector.parse(text, core.CONFIG_MAP)

    assert str(refusal.value) == message
