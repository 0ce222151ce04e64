"""What is begun before the server is there."""

import pytest

from motorpool.modelserver import early, flags
from tests.modelserver import models


def settings(path, *more):
    return flags.parse(["--model_name=m", f"--model_path={path}", "--rest_port=1", *more])


class Loads:
    def __init__(self):
        self.directories = []

    def __call__(self, directory):
        self.directories.append(directory)
        return "loaded later"


def test_the_highest_version_is_loaded_ahead_and_given_once(tmp_path):
    models.times(tmp_path / "1", 2)
    models.times(tmp_path / "2", 2)
    later = Loads()

    begun = early.begin(settings(tmp_path))
    load = begun.loading_by(later)

    assert load(tmp_path / "2").spec.inputs[0].name == "x"
    assert load(tmp_path / "2") == "loaded later"
    assert later.directories == [tmp_path / "2"]


def test_another_version_than_was_begun_is_loaded_in_the_ordinary_way(tmp_path):
    models.times(tmp_path / "1", 2)

    load = early.begin(settings(tmp_path)).loading_by(Loads())

    assert load(tmp_path / "7") == "loaded later"


def test_what_fails_ahead_is_tried_again_and_told_then(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(b"none")

    load = early.begin(settings(tmp_path)).loading_by(Loads())

    assert load(tmp_path / "1") == "loaded later"


@pytest.mark.parametrize("name", ["1/model.joblib", "nothing", "1/notes"])
def test_nothing_is_begun_where_there_is_nothing_to_win(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")

    assert early.begin(settings(tmp_path)) is None
