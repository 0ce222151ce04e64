from datetime import UTC, datetime, timedelta

from motorpool.workloads.horizontalpodautoscaler.plan import History, decide

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def after(seconds):
    return NOW + timedelta(seconds=seconds)


def spec(least=1, most=10, **behavior):
    found = {"minReplicas": least, "maxReplicas": most}
    return {**found, "behavior": behavior} if behavior else found


def rule(kind, value, period=15):
    return {"type": kind, "value": value, "periodSeconds": period}


def reasons(decision):
    return [note.reason for note in decision.notes]


def test_growth_is_bounded_by_twice_the_size():
    found = decide(spec(most=50), 4, 20, History(), NOW)
    assert found.replicas == 8
    assert reasons(found) == ["ReadyForNewScale", "ScaleUpLimit"]


def test_one_pod_may_become_four_at_once():
    assert decide(spec(), 1, 9, History(), NOW).replicas == 4


def test_the_bounds_of_the_user_hold():
    found = decide(spec(most=5), 4, 9, History(), NOW)
    assert (found.replicas, reasons(found)[1]) == (5, "TooManyReplicas")
    found = decide(spec(least=2), 2, 1, History(), NOW)
    assert (found.replicas, reasons(found)[-1]) == (2, "DesiredWithinRange")
    history = History([(NOW, 1)])
    found = decide(spec(least=2), 2, 1, history, after(1))
    assert (found.replicas, reasons(found)[-1]) == (2, "TooFewReplicas")


def test_shrinking_waits_for_five_quiet_minutes():
    history = History()
    assert decide(spec(), 4, 4, history, NOW).replicas == 4
    held = decide(spec(), 4, 1, history, after(200))
    assert (held.replicas, reasons(held)[0]) == (4, "ScaleDownStabilized")
    history.forget(after(301) - timedelta(seconds=300))
    assert decide(spec(), 4, 1, history, after(301)).replicas == 1


def test_a_window_of_ones_own_is_kept():
    down = {"stabilizationWindowSeconds": 20, "policies": [rule("Percent", 100)]}
    history = History()
    decide(spec(scaleDown=down), 8, 8, history, NOW)
    assert decide(spec(scaleDown=down), 8, 2, history, after(15)).replicas == 8
    assert decide(spec(scaleDown=down), 8, 2, history, after(30)).replicas == 2


def test_a_policy_bounds_what_is_added_in_its_period():
    up = {"policies": [rule("Pods", 2, 60)]}
    history = History()
    first = decide(spec(scaleUp=up), 1, 9, history, NOW)
    assert (first.replicas, reasons(first)[-1]) == (3, "ScaleUpLimit")
    history.changes.append((NOW, 2))
    assert decide(spec(scaleUp=up), 3, 9, history, after(30)).replicas == 3
    assert decide(spec(scaleUp=up), 3, 9, history, after(61)).replicas == 5


def test_the_policy_with_the_larger_change_counts_unless_the_smaller_is_chosen():
    policies = [rule("Pods", 1), rule("Percent", 100)]
    assert decide(spec(scaleUp={"policies": policies}), 4, 10, History(), NOW).replicas == 8
    smaller = {"policies": policies, "selectPolicy": "Min"}
    assert decide(spec(scaleUp=smaller), 4, 10, History(), NOW).replicas == 5


def test_a_direction_can_be_closed():
    closed = {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}
    assert decide(spec(scaleUp=closed), 4, 10, History(), NOW).replicas == 4
    assert decide(spec(scaleDown=closed), 4, 1, History([(NOW, 1)]), after(1)).replicas == 4
