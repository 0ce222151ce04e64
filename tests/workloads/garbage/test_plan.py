import pytest

from motorpool.workloads.garbage.plan import Delete, KeepReferences, OwnerState, state_of, verdict
from tests.workloads.objects import deleting

PRESENT, WAITING, ABSENT = OwnerState.PRESENT, OwnerState.WAITING, OwnerState.ABSENT


def owned(count, *finalizers):
    references = [{"uid": f"u{number}"} for number in range(count)]
    return {"metadata": {"ownerReferences": references, "finalizers": list(finalizers)}}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        ([PRESENT], None),
        ([ABSENT], Delete("Background")),
        ([WAITING], Delete("Background")),
        ([ABSENT, WAITING], Delete("Background")),
        ([PRESENT, ABSENT], KeepReferences([{"uid": "u0"}])),
        ([WAITING, PRESENT], KeepReferences([{"uid": "u1"}])),
        ([PRESENT, PRESENT], None),
    ],
)
def test_an_object_lives_as_long_as_one_owner_does(states, expected):
    assert verdict(owned(len(states)), states, has_dependents=False) == expected


def test_foreground_deletion_goes_down_to_the_last_dependents():
    assert verdict(owned(1), [WAITING], has_dependents=True) == Delete("Foreground")


def test_an_object_that_asks_for_a_policy_gets_it():
    assert verdict(owned(1, "orphan"), [ABSENT], has_dependents=True) == Delete("Orphan")
    wanted = owned(1, "foregroundDeletion")
    assert verdict(wanted, [ABSENT], has_dependents=True) == Delete("Foreground")


def test_an_owner_is_known_by_its_uid():
    owner = {"metadata": {"uid": "u0"}}
    leaving = deleting({"metadata": {"uid": "u0"}})
    waiting = deleting({"metadata": {"uid": "u0", "finalizers": ["foregroundDeletion"]}})

    assert state_of({"uid": "u0"}, owner) is PRESENT
    assert state_of({"uid": "u0"}, leaving) is PRESENT
    assert state_of({"uid": "u0"}, waiting) is WAITING
    assert state_of({"uid": "u0"}, {"metadata": {"uid": "u1"}}) is ABSENT
    assert state_of({"uid": "u0"}, None) is ABSENT
