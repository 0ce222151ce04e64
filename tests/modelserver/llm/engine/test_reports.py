"""Which steps are reported at once, and which with the next ones."""

from motorpool.modelserver.llm.engine.reports import Reports
from motorpool.modelserver.llm.engine.wire import Event


def told(reports, now, *events):
    reports.add(list(events))
    return reports.due(now)


def begun(*numbers):
    """Reports in the middle of these generations, at the time 0."""
    reports = Reports(0.02)
    assert told(reports, 0.0, *(Event(number, [number]) for number in numbers))
    return reports


def test_the_first_tokens_wait_for_nothing():
    reports = begun(1)
    assert told(reports, 0.001, Event(2, [7])) == [Event(2, [7])]


def test_the_next_ones_are_kept_and_told_together():
    reports = begun(1, 2)
    assert told(reports, 0.004, Event(1, [5], [-0.5]), Event(2, [6])) is None
    assert told(reports, 0.008, Event(1, [7], [-0.7])) is None
    both = [Event(1, [5, 7, 8], [-0.5, -0.7, -0.8]), Event(2, [6])]
    assert told(reports, 0.021, Event(1, [8], [-0.8])) == both
    assert told(reports, 0.025, Event(1, [9])) is None


def test_the_last_ones_wait_for_nothing_and_bring_what_was_kept():
    reports = begun(1)
    assert told(reports, 0.004, Event(1, [5])) is None
    last = told(reports, 0.008, Event(1, [3], [], "stop", 3))
    assert last == [Event(1, [5, 3], [], "stop", 3)]


def test_a_number_of_which_nothing_is_left_begins_anew():
    reports = begun(1)
    told(reports, 0.004, Event(1, [3], [], "stop"))
    assert told(reports, 0.005, Event(1, [4])) == [Event(1, [4])]


def test_of_what_was_cancelled_nothing_is_told_but_the_change_is():
    reports = begun(1, 2)
    assert told(reports, 0.004, Event(1, [5]), Event(2, [6])) is None
    reports.forget(1)
    assert told(reports, 0.005) == [Event(2, [6])]


def test_slow_steps_are_told_one_by_one():
    reports = begun(1)
    told(reports, 0.5, Event(1, [5]))
    assert told(reports, 0.512, Event(1, [6])) == [Event(1, [6])]
