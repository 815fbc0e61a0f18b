"""Studies become squares once; what cannot be used is named and counted."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from harness.datasets.training import TrainingStudy
from harness.samples import ImageRef
from lofi.picture import shift, shift_boxes
from lofi.read import read_studies
from tests.lofi.conftest import make


def study(folder: Path, name: str, *, text="Left nodule.", regions=(), damaged=False):
    file = folder / f"{name}.png"
    if damaged:
        file.write_bytes(b"not a picture")
    else:
        PIL.Image.fromarray(np.full((20, 40), 100, np.uint8)).save(file)
    return TrainingStudy(ImageRef(name, file, f"p-{name}", f"s-{name}"), text, (text,), regions)


def read(folder: Path, given, said=None):
    say = said.append if said is not None else lambda _: None
    options = {"size": 32, "limit": 16, "cache": folder / "cache", "say": say}
    return read_studies(given, make().text_tokenizer, **options)


def test_what_cannot_be_used_is_named_and_counted(tmp_path):
    box = np.float32([[0, 0, 1, 1]])
    empty = np.zeros((0, 4), np.float32)
    given = [
        study(tmp_path, "good", regions=(("nodule", box), ("nothing", empty))),
        study(tmp_path, "bad", damaged=True),
        study(tmp_path, "mute", text="  "),
        study(tmp_path, "fine"),
    ]
    said = []
    found = read(tmp_path, given, said)
    assert [item.study_id for item in found.items] == ["s-good", "s-fine"]
    assert found.skipped == {
        "report without text": 1,
        "image unreadable": 1,
        "phrase without boxes": 1,
    }
    assert len(found.items[0].regions) == 1
    assert any("bad" in line for line in said)
    assert any("mute" in line for line in said)
    assert found.squares.shape == (2, 32, 32)
    assert found.squares[1].max() == 100  # the row of `fine`, not of `bad`


def test_boxes_are_moved_into_the_padded_square(tmp_path):
    box = np.float32([[0, 0, 0.5, 1]])
    found = read(tmp_path, [study(tmp_path, "wide", regions=(("nodule", box),))])
    # 40 x 20 pixels: the picture fills the middle half of the square's height.
    assert found.items[0].regions[0][1].tolist() == [[0, 0.25, 0.5, 0.75]]


def test_pictures_are_decoded_once(tmp_path, monkeypatch):
    given = [study(tmp_path, "one"), study(tmp_path, "two")]
    first = read(tmp_path, given)
    monkeypatch.setattr("lofi.read._square", lambda *_: pytest.fail("decoded again"))
    again = read(tmp_path, given)
    assert np.array_equal(first.squares, again.squares)


def test_a_changed_file_is_decoded_again(tmp_path):
    given = [study(tmp_path, "one")]
    read(tmp_path, given)
    PIL.Image.fromarray(np.full((20, 41), 200, np.uint8)).save(given[0].image.file)
    assert read(tmp_path, given).squares.max() == 200


def test_long_reports_are_cut_at_sentences(tmp_path):
    text = "There is a left nodule. No effusion is seen. There is a right nodule. The end is near."
    found = read(tmp_path, [study(tmp_path, "long", text=text)])
    pieces = found.items[0].chunks
    assert len(pieces) > 1
    assert " ".join(pieces) == text


def test_a_shift_moves_picture_and_boxes_alike():
    square = np.zeros((10, 10), np.uint8)
    square[2:4, 5:8] = 9
    boxes = np.float32([[0.5, 0.2, 0.8, 0.4]])
    moved = shift(square, -2, 3)
    box = shift_boxes(boxes, -0.2, 0.3)
    assert box == pytest.approx(np.float32([[0.3, 0.5, 0.6, 0.7]]))
    assert (moved[5:7, 3:6] == 9).all()
    assert moved.sum() == square.sum()


def test_a_box_that_left_the_picture_is_dropped():
    assert len(shift_boxes(np.float32([[0, 0, 0.1, 1], [0.5, 0, 1, 1]]), -0.2, 0)) == 1
