from motorpool.loop.ownership import claims, controllers

OWNER = {"metadata": {"name": "web", "uid": "u"}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}


def child(name, label="b", owner=None, **metadata):
    references = [{"uid": owner, "controller": True, "kind": "X", "name": "x"}] if owner else []
    return {
        "metadata": {
            "name": name, "namespace": "n", "labels": {"a": label}, "ownerReferences": references,
            **metadata,
        }
    }  # fmt: skip


def names(objects):
    return [obj["metadata"]["name"] for obj in objects]


def test_children_are_kept_adopted_or_released_by_selector_and_reference():
    found = claims(
        OWNER,
        [
            child("own", owner="u"),
            child("changed", label="c", owner="u"),
            child("stray"),
            child("stray-changed", label="c"),
            child("stray-leaving", deletionTimestamp="2026-01-01T00:00:00Z"),
            child("foreign", owner="v"),
        ],
    )

    assert names(found.kept) == ["own"]
    assert names(found.released) == ["changed"]
    assert names(found.adopted) == ["stray"]


def test_an_owner_that_goes_neither_adopts_nor_releases():
    owner = {**OWNER, "metadata": {**OWNER["metadata"], "deletionTimestamp": "x"}}

    found = claims(owner, [child("own", owner="u", label="c"), child("stray")])

    assert names(found.kept) == ["own"]
    assert (found.adopted, found.released) == ([], [])


def test_objects_are_found_by_their_controller_or_as_orphans_of_their_namespace():
    assert controllers(child("own", owner="u")) == ("u",)
    assert controllers(child("stray")) == ("orphans/n",)
