"""Pruning and defaulting, over schemas and values of every shape."""

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motorpool.api.schema import fill_defaults, pruned, unknown_fields, with_defaults

pytestmark = pytest.mark.slow

NAMES = st.sampled_from(["a", "b", "c", "metadata", "kind"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "nullable": True},
        {"type": "string", "default": "x"},
        {"type": "integer", "default": 1, "nullable": True},
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        },
        {"x-kubernetes-int-or-string": True},
    ]
)


def larger(inner):
    properties = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    return st.one_of(
        properties.map(lambda p: {"type": "object", "properties": p}),
        properties.map(lambda p: {"type": "object", "properties": p, "default": {}}),
        properties.map(
            lambda p: {
                "type": "object",
                "properties": p,
                "x-kubernetes-preserve-unknown-fields": True,
            }
        ),
        inner.map(lambda i: {"type": "array", "items": i}),
        inner.map(lambda v: {"type": "object", "additionalProperties": v}),
    )


SCHEMAS = st.recursive(LEAVES, larger, max_leaves=8)


@given(VALUES, SCHEMAS)
@settings(max_examples=300, deadline=None)
def test_pruning_twice_is_pruning_once(value, schema):
    before = deepcopy(value)
    once = pruned(value, schema)
    assert value == before
    assert pruned(once, schema) is once


@given(st.dictionaries(NAMES, VALUES, max_size=4), SCHEMAS)
@settings(max_examples=300, deadline=None)
def test_what_was_pruned_has_no_unknown_fields(value, schema):
    root = {"type": "object", "properties": {"spec": schema}}
    obj = {"apiVersion": "v1", "kind": "K", "metadata": {}, "spec": value}
    assert unknown_fields({**obj, "spec": pruned(value, schema)}, root) == []


@given(VALUES, SCHEMAS)
@settings(max_examples=300, deadline=None)
def test_defaulting_twice_is_defaulting_once(value, schema):
    filled = deepcopy(value)
    fill_defaults(filled, schema)
    again = deepcopy(filled)
    fill_defaults(again, schema)
    assert again == filled
    assert with_defaults(filled, schema) is filled


@given(VALUES, SCHEMAS)
@settings(max_examples=300, deadline=None)
def test_defaults_for_readers_leave_what_is_stored_alone(value, schema):
    before = deepcopy(value)
    filled = with_defaults(value, schema)
    assert value == before
    assert with_defaults(filled, schema) is filled
