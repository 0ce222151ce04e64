from motorpool.workloads.deployment.revision import (
    HISTORY,
    REVISION,
    annotations_for,
    current,
    expired,
    next_revision,
)
from motorpool.workloads.deployment.spec import rollout_of
from tests.workloads.objects import deployment, replica_set, template


def revised(name, revision, *, replicas=0, born="2026-01-01T00:00:00Z", **annotations):
    made = replica_set(name, replicas=replicas)
    made["metadata"]["annotations"] = {REVISION: str(revision), **annotations}
    made["metadata"]["creationTimestamp"] = born
    made["status"] = {"replicas": replicas, "observedGeneration": 1}
    return made


def names(sets):
    return [each["metadata"]["name"] for each in sets]


def test_the_oldest_of_those_with_the_template_is_current():
    young = revised("young", 2, born="2026-02-01T00:00:00Z")
    old = revised("old", 1)
    other = revised("other", 3)
    other["spec"]["template"] = template({"app": "web"}, "app:2")

    assert current(deployment(), [young, other, old])["metadata"]["name"] == "old"


def test_what_becomes_current_again_gets_a_new_number_and_remembers_the_old_one():
    first = revised("first", 1)

    annotations = annotations_for(deployment(), first, next_revision([revised("second", 2)]))

    assert annotations[REVISION] == "3"
    assert annotations[HISTORY] == "1"
    back = annotations_for(deployment(), {"metadata": {"annotations": annotations}}, 5)
    assert back[HISTORY] == "1,3"


def test_annotations_of_the_deployment_are_copied_but_for_the_machinery():
    owner = deployment()
    owner["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "new image",
        REVISION: "7",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }

    annotations = annotations_for(owner, None, 1)

    assert annotations == {"kubernetes.io/change-cause": "new image", REVISION: "1"}


def test_beyond_the_history_limit_the_oldest_empty_ones_go():
    old = [revised("r2", 2), revised("r1", 1, replicas=1), revised("r3", 3), revised("r4", 4)]

    assert names(expired(rollout_of(deployment(revisionHistoryLimit=2)), old)) == ["r2"]
    assert expired(rollout_of(deployment(revisionHistoryLimit=4)), old) == []
