from datetime import UTC, datetime

import pytest

from motorpool.workloads.job.plan import expires_in_s, plan, pod_of
from motorpool.workloads.job.tally import parse_indexes, shown_indexes, tally
from tests.workloads.job.objects import job, part

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def planned(made, *pods, now=NOW):
    return plan(made, pods, tally(made, pods), now)


def test_a_new_job_starts_as_many_pods_as_it_may_at_a_time():
    assert list(planned(job(parallelism=3, completions=5)).create) == [-1] * 3
    assert list(planned(job(parallelism=9, completions=2)).create) == [-1] * 2


def test_it_starts_no_more_than_are_still_to_succeed():
    pods = [part("a", "Succeeded"), part("b", "Succeeded"), part("c")]
    assert list(planned(job(parallelism=3, completions=3), *pods).create) == []
    assert list(planned(job(parallelism=3, completions=4), *pods).create) == [-1]


def test_it_is_complete_when_enough_have_succeeded():
    found = planned(job(), part("a", "Succeeded"))
    assert (found.end.type, found.end.reason) == ("Complete", "CompletionsReached")


def test_without_a_number_the_first_success_ends_the_starting():
    made = job(parallelism=3, completions=None)
    found = planned(made, part("a", "Succeeded"), part("b"))
    assert (found.end, list(found.create)) == (None, [])
    assert planned(made, part("a", "Succeeded"), part("b", "Succeeded")).end.type == "Complete"


def test_a_failed_pod_is_replaced_after_a_pause_that_doubles():
    one = part("a", "Failed", ended="2026-01-01T11:59:56Z")
    found = planned(job(), one)
    assert (list(found.create), found.again_s) == ([], 6.0)
    two = part("b", "Failed", ended="2026-01-01T11:59:40Z")
    assert planned(job(), one, two).again_s == 16.0
    late = part("a", "Failed", ended="2026-01-01T11:59:50Z")
    assert list(planned(job(), late).create) == [-1]


def test_too_many_failures_fail_the_job_and_stop_what_runs():
    running = part("c")
    pods = [part("a", "Failed"), part("b", "Failed"), running]
    found = planned(job(backoffLimit=1, parallelism=2, completions=2), *pods)
    assert (found.end.type, found.end.reason) == ("Failed", "BackoffLimitExceeded")
    assert list(found.delete) == [running]


def test_restarts_count_where_containers_are_restarted():
    pod = part("a")
    pod["status"]["containerStatuses"] = [{"name": "app", "restartCount": 2}]
    assert planned(job(policy="OnFailure", backoffLimit=3), pod).end is None
    assert planned(job(policy="OnFailure", backoffLimit=2), pod).end.type == "Failed"


def test_the_deadline_ends_the_job():
    made = job(activeDeadlineSeconds=60, status={"startTime": "2026-01-01T11:59:10Z"})
    assert planned(made, part("a")).again_s == 10.0
    made = job(activeDeadlineSeconds=60, status={"startTime": "2026-01-01T11:58:59Z"})
    assert planned(made, part("a")).end.reason == "DeadlineExceeded"


def test_a_suspended_job_runs_nothing():
    running = part("a")
    found = planned(job(suspend=True), running)
    assert (list(found.delete), list(found.create)) == ([running], [])


def test_an_indexed_job_does_each_part_once():
    made = job(parallelism=2, completions=4, completionMode="Indexed")
    pods = [part("a", "Succeeded", index=0), part("b", index=2)]
    assert list(planned(made, *pods).create) == [1]
    pod = pod_of(made, 1)
    assert pod["metadata"]["generateName"] == "work-1-"
    assert pod["spec"]["hostname"] == "work-1"
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


@pytest.mark.parametrize("text", ["", "0", "0,1", "0,2-4", "1,3-9,11"])
def test_indexes_are_written_as_they_are_read(text):
    assert shown_indexes(parse_indexes(text)) == text


def test_a_pod_counts_once_however_far_its_counting_got():
    pods = [part("a", "Succeeded")]
    first = tally(job(), pods)
    assert (first.succeeded, first.counters["succeeded"]) == (1, 0)
    noted = job(status={"uncountedTerminatedPods": {"succeeded": ["uid-a"]}})
    assert tally(noted, pods).succeeded == 1
    free = [part("a", "Succeeded", tracked=False)]
    assert tally(noted, free).counters["succeeded"] == 1
    assert tally(noted, []).counters["succeeded"] == 1
    counted = job(status={"succeeded": 1, "uncountedTerminatedPods": {}})
    assert tally(counted, free).succeeded == 1


def test_a_pod_that_is_told_to_go_has_failed():
    assert tally(job(), [part("a", deletionTimestamp="2026-01-01T12:00:00Z")]).failed == 1


def test_a_finished_job_expires():
    condition = {
        "type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T11:59:30Z",
    }  # fmt: skip
    made = job(ttlSecondsAfterFinished=60, status={"conditions": [condition]})
    assert expires_in_s(made, NOW) == 30.0
    assert expires_in_s(job(status={"conditions": [condition]}), NOW) is None
