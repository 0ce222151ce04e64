from motorpool.api import batch, core
from motorpool.api.meta import at
from motorpool.workloads.job.reconcile import controller
from tests.workloads.cluster import Cluster, quiet, running, until
from tests.workloads.job.objects import job


def pods(client):
    return [obj for (kind, _), obj in client.objects.items() if kind is core.POD]


def status(client):
    return client.kept(batch.JOB, "n", "work").get("status") or {}


def conditions(client):
    return [c["type"] for c in status(client).get("conditions", ()) if c["status"] == "True"]


def turn(client, pod, phase):
    client.set(core.POD, pod, status={"phase": phase})


async def test_a_job_runs_to_its_end_and_a_second_pass_writes_nothing():
    client = Cluster(job(parallelism=2, completions=3))
    async with running(client, controller):
        await until(lambda: len(pods(client)) == 2)
        await until(lambda: status(client).get("active") == 2)
        for pod in pods(client):
            turn(client, pod, "Succeeded")
        await until(lambda: len(pods(client)) == 3)
        turn(client, next(p for p in pods(client) if not p.get("status")), "Succeeded")
        await until(lambda: "Complete" in conditions(client))
        await until(lambda: status(client).get("succeeded") == 3)
        await quiet(client)
        assert conditions(client) == ["SuccessCriteriaMet", "Complete"]
        assert status(client)["uncountedTerminatedPods"] == {}
        assert status(client)["completionTime"]
        assert not any(pod["metadata"].get("finalizers") for pod in pods(client))
        client.writes.clear()
        client.set(
            batch.JOB,
            client.kept(batch.JOB, "n", "work"),
            spec=dict(job(parallelism=2, completions=3)["spec"]),
        )
        await quiet(client)
        assert client.writes == []
    assert len(client.events("Completed")) == 1


async def test_a_failure_too_many_fails_the_job():
    client = Cluster(job(backoffLimit=0))
    async with running(client, controller):
        await until(lambda: len(pods(client)) == 1)
        turn(client, pods(client)[0], "Failed")
        await until(lambda: "Failed" in conditions(client))
        await until(lambda: status(client).get("failed") == 1)
        await quiet(client)
    assert conditions(client) == ["FailureTarget", "Failed"]
    assert len(client.events("BackoffLimitExceeded")) == 1


async def test_a_suspended_job_stops_and_goes_on():
    client = Cluster(job())
    async with running(client, controller):
        await until(lambda: len(pods(client)) == 1)
        made = client.kept(batch.JOB, "n", "work")
        client.set(batch.JOB, made, spec={**made["spec"], "suspend": True})
        await until(lambda: pods(client) == [] and conditions(client) == ["Suspended"])
        assert "startTime" not in status(client)
        made = client.kept(batch.JOB, "n", "work")
        client.set(batch.JOB, made, spec={**made["spec"], "suspend": False})
        await until(lambda: len(pods(client)) == 1 and conditions(client) == [])
        await quiet(client)
    assert at(client.kept(batch.JOB, "n", "work"), "status", "failed") is None


async def test_a_finished_job_goes_when_its_time_is_over():
    client = Cluster(job(ttlSecondsAfterFinished=0))
    async with running(client, controller):
        await until(lambda: len(pods(client)) == 1)
        turn(client, pods(client)[0], "Succeeded")
        await until(lambda: (batch.JOB, ("n", "work")) not in client.objects)


async def test_the_pods_of_a_job_that_is_gone_are_let_go():
    client = Cluster(job())
    async with running(client, controller):
        await until(lambda: len(pods(client)) == 1)
        await client.delete(batch.JOB, "n", "work")
        await until(lambda: not pods(client)[0]["metadata"].get("finalizers"))
