import pytest

from motorpool.modelserver.repository import (
    RepositoryError,
    existing_versions,
    version_directory,
    version_numbers,
)


def test_versions_are_positive_numbers_and_sorted_as_numbers():
    assert version_numbers(["10", "9", "0", "01", "-1", "+2", "1.0", "v3", ".git"]) == [9, 10]


def test_versions_are_what_is_named_by_a_number(tmp_path):
    for name in ("2", "10", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").touch()

    assert existing_versions(tmp_path) == [2, 10]


def test_a_directory_without_versions_is_refused_with_what_is_expected(tmp_path):
    (tmp_path / "model").mkdir()

    with pytest.raises(RepositoryError, match="Not a single model version directory"):
        existing_versions(tmp_path)


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RepositoryError, match="cannot be read: No such file or directory"):
        existing_versions(tmp_path / "nowhere")


def test_a_flat_directory_of_kserves_servers_is_version_1(tmp_path):
    (tmp_path / "model.joblib").touch()

    assert existing_versions(tmp_path) == [1]
    assert version_directory(tmp_path, 1) == tmp_path


def test_numbered_directories_come_before_a_flat_one(tmp_path):
    (tmp_path / "model.joblib").touch()
    (tmp_path / "3").mkdir()

    assert existing_versions(tmp_path) == [3]
    assert version_directory(tmp_path, 3) == tmp_path / "3"


def test_a_language_models_files_are_known_and_told_apart(tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")

    with pytest.raises(RepositoryError, match="serve it with --task text_generation"):
        existing_versions(tmp_path)
