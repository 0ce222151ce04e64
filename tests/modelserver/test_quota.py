import pytest

from motorpool.modelserver.quota import processors, tightest


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], None),
        (["max 100000\n"], None),
        (["150000 100000\n"], 2),
        (["50000 100000\n", "max 100000\n"], 1),
        (["400000 100000\n", "300000 100000\n"], 3),
        (["", "rubbish", "1 x"], None),
    ],
)
def test_the_tightest_limit_counts_in_whole_processors(limits, expected):
    assert tightest(limits) == expected


def test_a_limit_may_be_set_on_any_group_above(tmp_path):
    group = tmp_path / "pods" / "pod"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("max 100000\n")
    (tmp_path / "pods" / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "membership").write_text("1:name=systemd:/x\n0::/pods/pod\n")

    assert processors(tmp_path, tmp_path / "membership") == 1
    assert processors(tmp_path, tmp_path / "nothing") is None
