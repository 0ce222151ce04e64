from motorpool.workloads.deployment.template import are_equal, template_hash
from tests.workloads.objects import template


def test_the_hash_is_the_same_tomorrow():
    assert template_hash(template({"app": "web"})) == template_hash(
        {"spec": template({})["spec"], "metadata": {"labels": {"app": "web"}}}
    )
    assert template_hash(template({"app": "web"})) == "55986f68b6"


def test_the_hash_label_and_what_the_server_fills_in_do_not_count():
    one = template({"app": "web"})
    other = template({"app": "web", "pod-template-hash": "abc"})
    other["metadata"]["creationTimestamp"] = None

    assert are_equal(one, other)
    assert template_hash(one) == template_hash(other)


def test_another_image_is_another_template():
    assert not are_equal(template({}, "app:1"), template({}, "app:2"))
    assert template_hash(template({}, "app:1")) != template_hash(template({}, "app:2"))


def test_a_collision_salts_the_hash():
    assert template_hash(template({}), 1) != template_hash(template({}))


def test_the_hash_spells_no_words():
    digest = template_hash(template({}))

    assert len(digest) <= 10
    assert set(digest) <= set("bcdfghjklmnpqrstvwxz2456789")
