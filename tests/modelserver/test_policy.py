import pytest

from motorpool.modelserver.policy import LATEST, parse_policy

VERSIONS = [10, 2, 9]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ('{"latest": {}}', [10]),
        ('{"latest": {"num_versions": 2}}', [9, 10]),
        ('{"latest": {"num_versions": 7}}', [2, 9, 10]),
        ('{"all": {}}', [2, 9, 10]),
        ('{"specific": {"versions": [2, 3]}}', [2]),
    ],
)
def test_a_policy_chooses_among_the_versions_that_there_are(text, chosen):
    assert parse_policy(text).choose(VERSIONS) == chosen


def test_the_latest_alone_is_served_unless_someone_says_otherwise():
    assert LATEST.choose(VERSIONS) == [10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is in wrong format"),
        ("[]", "is in wrong format"),
        ('{"all": {}, "latest": {}}', "takes exactly one key"),
        ('{"oldest": {}}', "contains unsupported key"),
        ('{"latest": {"num_versions": 0}}', "is in wrong format"),
        ('{"latest": 1}', "is in wrong format"),
        ('{"specific": {"versions": []}}', "is in wrong format"),
        ('{"specific": {"versions": [true]}}', "is in wrong format"),
    ],
)
def test_what_is_no_policy_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_policy(text)
