import pytest

from motorpool.modelserver.repository import (
    RepositoryError,
    latest_version,
    model_file,
    version_numbers,
)


def test_versions_are_positive_numbers_and_sorted_as_numbers():
    assert version_numbers(["10", "9", "0", "01", "-1", "+2", "1.0", "v3", ".git"]) == [9, 10]


def test_the_highest_version_is_served(tmp_path):
    for name in ("2", "10", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").touch()

    assert latest_version(tmp_path) == 10


def test_a_directory_without_versions_is_refused_with_what_is_expected(tmp_path):
    (tmp_path / "model").mkdir()

    with pytest.raises(RepositoryError, match="Not a single model version directory"):
        latest_version(tmp_path)


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RepositoryError, match="cannot be read: No such file or directory"):
        latest_version(tmp_path / "nowhere")


def test_openvino_comes_before_onnx(tmp_path):
    for name in ("a.onnx", "m.xml", "m.bin"):
        (tmp_path / name).touch()

    assert model_file(tmp_path).name == "m.xml"


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "no OpenVINO IR"), (["m.xml"], "m.bin is missing beside m.xml"), (["m.pt"], "no ONNX")],
)
def test_a_version_without_a_model_is_refused_with_what_is_missing(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(RepositoryError, match=message):
        model_file(tmp_path)
