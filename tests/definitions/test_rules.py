"""Validation rules: CEL as the Kubernetes API has it."""

import pytest

from motorpool.api.cel import rules
from motorpool.api.cel.engine import BadExpression, compiled

SPEC = {
    "size": {"type": "integer"},
    "ratio": {"type": "number"},
    "mode": {"type": "string"},
    "x-y": {"type": "string"},
    "namespace": {"type": "string"},
    "since": {"type": "string", "format": "date-time"},
    "wait": {"type": "string", "format": "duration"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "any": {"x-kubernetes-int-or-string": True},
}


def broken(rule, new, old=None, *, schema=None, **more):
    spec = schema or {"type": "object", "properties": SPEC}
    spec = {**spec, "x-kubernetes-validations": [{"rule": rule, **more}]}
    node = rules.compile_rules({"type": "object", "properties": {"spec": spec}})
    before = None if old is None else {"spec": old}
    return [str(error) for error in rules.broken_rules(node, {"spec": new}, before)]


@pytest.mark.parametrize(
    "rule",
    [
        "self.size == 5",
        "self.size > 4.5 && self.ratio == 2.0",
        "self.ratio / 2.0 == 1.0",
        "self.x__dash__y == 'z'",
        "self.__namespace__ == 'n'",
        "!has(self.nothing)",
        "self.since > timestamp('2020-01-01T00:00:00Z')",
        "self.wait == duration('90m')",
        "self.texts.all(t, t.size() == 1)",
        "self.texts.isSorted() && self.texts.indexOf('b') == 1",
        "self.map.all(k, self.map[k] > 0)",
        "self.mode.matches('^[a-z]+$')",
        "self.mode.upperAscii() == 'ABC' && self.mode.substring(1, 2) == 'b'",
        "self.mode.find('b.') == 'bc'",
        "isURL('https://a.b/c') && url('https://a.b:8/c').getPort() == '8'",
        "self.texts.join('-') == 'a-b'",
        "type(self.any) == string ? self.any == '1' : self.any == 1",
        "self.texts.exists_one(t, t == 'a')",
        "self.texts.map(t, t + t) == ['aa', 'bb']",
    ],
)
def test_a_rule_that_holds(rule):
    value = {
        "size": 5, "ratio": 2, "mode": "abc", "x-y": "z", "namespace": "n", "wait": "1h30m",
        "since": "2026-01-01T00:00:00Z", "texts": ["a", "b"], "map": {"a": 1}, "any": 1,
    }  # fmt: skip
    assert broken(rule, value) == []


def test_a_broken_rule_says_what_its_author_wrote():
    assert broken("self.size != 7", {"size": 7}, message="no seven") == [
        'spec: Invalid value: "object": no seven'
    ]
    assert broken("self.size != 7", {"size": 7}) == [
        'spec: Invalid value: "object": failed rule: self.size != 7'
    ]
    said = "'size is ' + string(self.size)"
    assert broken("self.size != 7", {"size": 7}, messageExpression=said) == [
        'spec: Invalid value: "object": size is 7'
    ]
    assert broken("self.size != 7", {"size": 7}, messageExpression="self.nope", message="m") == [
        'spec: Invalid value: "object": m'
    ]


def test_a_broken_rule_may_point_below_and_say_why():
    assert broken("false", {}, message="m", fieldPath=".size", reason="FieldValueForbidden") == [
        "spec.size: Forbidden: m"
    ]
    assert broken("false", {}, message="m", reason="FieldValueRequired") == [
        "spec: Required value: m"
    ]


def test_a_transition_is_asked_of_updates_alone():
    rule = "self.mode == oldSelf.mode"
    assert broken(rule, {"mode": "a"}) == []
    assert broken(rule, {"mode": "a", "size": 1}, {"mode": "a"}) == []
    assert broken(rule, {"mode": "b"}, {"mode": "a"}, message="mode immutable") == [
        'spec: Invalid value: "object": mode immutable'
    ]


def test_an_optional_old_value_is_asked_of_creations_too():
    rule = "oldSelf.hasValue() ? self.size >= oldSelf.value().size : self.size == 1"
    assert broken(rule, {"size": 1}, optionalOldSelf=True) == []
    assert len(broken(rule, {"size": 2}, optionalOldSelf=True)) == 1
    assert broken(rule, {"size": 2}, {"size": 1}, optionalOldSelf=True) == []
    assert len(broken(rule, {"size": 1}, {"size": 2}, optionalOldSelf=True)) == 1


def test_what_did_not_change_is_not_asked_again():
    assert broken("self.size < 5", {"size": 9}, {"size": 9}) == []
    assert len(broken("self.size < 5", {"size": 9}, {"size": 8})) == 1


def test_items_of_a_map_like_list_are_found_by_their_keys():
    item = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "v": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "less"}],
    }
    listed = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    schema = {"type": "object", "properties": {"list": listed}}
    old = {"list": [{"name": "a", "v": 1}, {"name": "b", "v": 5}]}
    new = {"list": [{"name": "b", "v": 4}, {"name": "a", "v": 2}]}
    assert broken("true", new, old, schema=schema) == [
        'spec.list[0]: Invalid value: "object": less'
    ]


def test_a_rule_without_a_value_is_broken():
    assert broken("self.nothing == 1", {}) == [
        'spec: Invalid value: "object": no such key: nothing evaluating rule: self.nothing == 1'
    ]


def test_loops_in_loops_over_much_are_not_run():
    rule = "self.texts.all(a, self.texts.all(b, self.texts.all(c, a + b + c != '')))"
    assert broken(rule, {"texts": ["x"] * 20}) == []
    (found,) = broken(rule, {"texts": ["x"] * 500})
    assert "running out of cost budget" in found


def test_what_is_no_rule():
    for source, why in (
        ("self.size ==", "parse"),
        ("nope(self.size)", "undeclared reference to 'nope'"),
        ("self.size == other", "undeclared reference to 'other'"),
        ("(" * 5000 + "1" + ")" * 5000, "parse"),
        ("self.a" + ".a" * 20_000, "characters"),
    ):
        with pytest.raises(BadExpression, match=f"(?s){why}"):
            compiled(source)


def test_definitions_with_bad_rules_are_refused():
    node = {
        "type": "object",
        "x-kubernetes-validations": [
            {"rule": ""},
            {"rule": "self.size ==="},
            {"rule": "true", "reason": "Nope"},
            {"rule": "true", "optionalOldSelf": True},
        ],
    }
    found = [str(e) for e in rules.definition_errors(node, "spec")]
    assert found[0] == (
        "spec.x-kubernetes-validations[0].rule: Required value: rule is not specified"
    )
    assert found[1].startswith(
        'spec.x-kubernetes-validations[1].rule: Invalid value: "self.size ===": compilation failed:'
    )
    assert 'Unsupported value: "Nope"' in found[2]
    assert "optionalOldSelf may only be set if the rule uses oldSelf" in found[3]
