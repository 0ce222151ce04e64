import contextlib
from datetime import UTC, datetime, timedelta

from motorpool.loop.informer import Informer
from motorpool.loop.ownwrites import KEPT_S, OwnWrites


class HandClock:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.moment


class Seen:
    """An informer that shows what the test says."""

    def __init__(self):
        from motorpool.api import core

        self.informer = Informer(client=None, kind=core.POD)
        self.clock = HandClock()
        self.own = OwnWrites(self.informer, self.clock)
        self.own.add_index("app", lambda obj: [obj["metadata"]["labels"]["app"]])

    def show(self, obj):
        key = self.key(obj)
        self.informer._change(key, obj)

    def show_gone(self, obj):
        with contextlib.suppress(KeyError):
            self.informer._change(self.key(obj), None)

    @staticmethod
    def key(obj):
        from motorpool.api.meta import key_of

        return key_of(obj)

    def revisions(self, app="a"):
        return [obj["metadata"]["resourceVersion"] for obj in self.own.by_index("app", app)]


def pod(revision, name="p", app="a", **metadata):
    return {
        "metadata": {
            "name": name,
            "namespace": "n",
            "uid": f"uid-{name}",
            "resourceVersion": str(revision),
            "labels": {"app": app},
            **metadata,
        }
    }


def test_what_was_created_is_there_before_the_informer_shows_it():
    seen = Seen()

    seen.own.note(pod(5))

    assert seen.revisions() == ["5"]
    assert seen.own.get("n", "p") == pod(5)
    assert seen.own.again_s == KEPT_S


def test_the_informer_counts_from_the_moment_that_it_is_as_new():
    seen = Seen()
    seen.show(pod(4))
    seen.own.note(pod(10))
    seen.show(pod(9))
    assert seen.revisions() == ["10"]

    seen.show(pod(11))

    assert seen.revisions() == ["11"]
    assert seen.own.again_s is None


def test_an_answer_older_than_what_the_informer_shows_is_not_kept():
    seen = Seen()
    seen.show(pod(100))

    seen.own.note(pod(9))

    assert seen.revisions() == ["100"]


def test_what_came_and_went_before_its_answer_stays_gone():
    seen = Seen()
    seen.show(pod(5))
    seen.show_gone(pod(5))

    seen.own.note(pod(5))

    assert seen.revisions() == []


def test_what_was_deleted_is_left_out_at_once_and_in_its_grace_period():
    seen = Seen()
    seen.show(pod(5))
    seen.show(pod(5, "q"))

    seen.own.note_deleted(pod(5))
    assert [obj["metadata"]["name"] for obj in seen.own.by_index("app", "a")] == ["q"]
    assert seen.own.get("n", "p") is None

    seen.show(pod(6, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert seen.own.again_s is None
    assert len(seen.revisions()) == 2


def test_an_index_follows_what_was_written():
    seen = Seen()
    seen.show(pod(5))

    seen.own.note(pod(6, app="b"))

    assert seen.revisions("a") == []
    assert seen.revisions("b") == ["6"]


def test_a_write_whose_event_never_comes_is_forgotten():
    seen = Seen()
    seen.own.note(pod(5))
    seen.show(pod(7, "q"))
    seen.own.note_deleted(pod(7, "q"))

    seen.clock.moment += timedelta(seconds=KEPT_S)

    assert seen.revisions() == ["7"]
    assert seen.own.again_s is None
