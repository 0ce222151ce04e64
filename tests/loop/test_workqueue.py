from motorpool.base.backoff import Backoff
from motorpool.loop.workqueue import WorkQueue


def queue():
    return WorkQueue(Backoff(first_s=1, most_s=8))


def test_a_key_added_twice_is_handed_out_once():
    q = queue()
    q.add("a", 0)
    q.add("a", 0)

    assert q.take(0) == "a"
    assert q.take(0) is None


def test_a_key_is_not_handed_out_before_it_is_due():
    q = queue()
    q.add("a", 5)

    assert q.take(4) is None
    assert q.next_due() == 5
    assert q.take(5) == "a"


def test_adding_a_waiting_key_makes_it_due_at_the_earlier_time():
    q = queue()
    q.add("a", 5)
    q.add("a", 2)
    q.add("a", 9)

    assert q.take(2) == "a"
    q.done("a", now=2)
    assert q.take(10) is None


def test_a_key_added_while_it_is_worked_on_comes_again_afterwards():
    q = queue()
    q.add("a", 0)
    q.take(0)
    q.add("a", 1)

    assert q.take(1) is None
    q.done("a", now=1)
    assert q.take(1) == "a"


def test_failures_back_off_and_a_success_forgets_them():
    q = queue()
    q.add("a", 0)
    delays = []
    now = 0.0
    for _ in range(5):
        assert q.take(now) == "a"
        delays.append(q.done("a", now=now, failed=True))
        now += delays[-1]
    assert delays == [1, 2, 4, 8, 8]

    assert q.take(now) == "a"
    q.done("a", now=now)
    q.add("a", now)
    q.take(now)
    assert q.done("a", now=now, failed=True) == 1


def test_a_change_during_a_failing_reconcile_does_not_shorten_the_back_off():
    q = queue()
    q.add("a", 0)
    q.take(0)
    q.add("a", 0)
    q.done("a", now=0, failed=True)

    assert q.take(0.5) is None
    assert q.take(1) == "a"
