"""Studies become squares once; what cannot be used is named and counted."""

import tracemalloc
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from harness.datasets.training import TrainingStudy
from harness.samples import ImageRef
from lofi import fit
from lofi.data import Batches, Studies, split_account
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


def read(folder: Path, given, said=None, **options):
    say = said.append if said is not None else lambda _: None
    options = {"size": 32, "limit": 16, "cache": folder / "cache", "say": say, **options}
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


def with_one_unreadable(folder: Path, count: int) -> list[TrainingStudy]:
    """Pictures with their number as their grey, and one among them that is none."""
    box = np.float32([[0.2, 0.2, 0.6, 0.7]])
    out = [study(folder, f"n{number}", regions=(("nodule", box),)) for number in range(count)]
    for number, one in enumerate(out):
        PIL.Image.fromarray(np.full((32, 32), number, np.uint8)).save(one.image.file)
    out[1].image.file.write_bytes(b"not a picture")
    return out


def test_an_unreadable_picture_does_not_bring_the_others_into_memory(tmp_path):
    given = with_one_unreadable(tmp_path, 9)
    read(tmp_path, given, size=512)
    tracemalloc.start()
    found = read(tmp_path, given, size=512)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 8
    assert most < 4 * 512 * 512
    assert [int(found.squares[place].max()) for place in range(8)] == [0, 2, 3, 4, 5, 6, 7, 8]
    assert found.squares[2:4].max(axis=(1, 2)).tolist() == [3, 4]


def test_batches_are_the_same_with_the_squares_in_memory_or_on_disk(tmp_path):
    found = read(tmp_path, with_one_unreadable(tmp_path, 9))
    model = make(data={"shift": 0.2, "brightness": 0.1})
    tools = (model.prompts, model.text_tokenizer)
    copied = Studies(np.array(found.squares[:]), found.items, found.skipped)
    ours, theirs = (Batches(one, model.config, tokenizers=tools) for one in (found, copied))
    for step in range(4):
        a, b = ours(step), theirs(step)
        assert torch.equal(a.pixels, b.pixels)
        assert torch.equal(a.texts, b.texts)
        assert torch.equal(a.rows["grounding"].sequences.ids, b.rows["grounding"].sequences.ids)


@pytest.mark.parametrize("left", ["", '{"frames": [[40, 20, 3', "[]", '{"frames": []}'])
def test_an_account_that_was_cut_short_is_made_again(tmp_path, left):
    given = [study(tmp_path, "one"), study(tmp_path, "two")]
    first = np.array(read(tmp_path, given).squares)
    [account] = (tmp_path / "cache").rglob("account.json")
    whole = account.read_text()
    account.write_text(left)
    assert np.array_equal(read(tmp_path, given).squares, first)
    assert account.read_text() == whole


def test_squares_made_again_leave_those_in_use_alone(tmp_path):
    given = [study(tmp_path, "one")]
    in_use = read(tmp_path, given).squares
    [account] = (tmp_path / "cache").rglob("account.json")
    before = account.with_name("squares.npy").stat().st_ino
    account.write_text("")
    read(tmp_path, given)
    assert account.with_name("squares.npy").stat().st_ino != before
    assert in_use.max() == 100


def test_a_kill_leaves_no_half_of_an_account(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.atomic.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, [study(tmp_path, "one")])
    assert not list((tmp_path / "cache").rglob("account.json"))


def test_phrases_without_boxes_are_named_by_their_images_alone(tmp_path):
    empty = np.zeros((0, 4), np.float32)
    lost = (("secret words", empty), ("more words", empty))
    given = [study(tmp_path, f"n{number}", regions=lost) for number in range(7)]
    said = []
    assert read(tmp_path, given, said).skipped == {"phrase without boxes": 14}
    assert said == ["left out: 14 phrases without boxes, of images n0, n1, n2, n3, n4 and 2 more"]


def cut_studies(folder: Path) -> list[TrainingStudy]:
    """A report and a list of boxes that are too long for 64 tokens, and ones that are not."""
    box = np.float32([[0.2, 0.2, 0.6, 0.7]])
    return [
        study(folder, "short", regions=(("nodule", box),)),
        study(folder, "long", text="Left nodule. " * 40),
        study(folder, "many", regions=(("nodule", np.repeat(box, 8, axis=0)), ("mass", box))),
    ]


def test_answers_that_training_cuts_are_counted_and_said_once(tmp_path):
    model, said = make(), []
    answers = (model.prompts, ("sigmoid", "captioning", "grounding"))
    found = read(tmp_path, cut_studies(tmp_path), said, answers=answers)
    assert found.cut == {"reports": 1, "box lists": 1}
    [told] = said
    assert told.startswith("cut in training: 1 of 3 reports, 1 of 3 box lists. Expected at most 64")
    account = split_account(found)
    assert account["cut: reports"] == account["cut: box lists"] == 1
    assert account["images"] == 3


def test_only_answers_of_losses_that_are_trained_can_be_cut(tmp_path):
    given, said = cut_studies(tmp_path), []
    model = make()
    assert read(tmp_path, given, said, answers=(model.prompts, ("sigmoid",))).cut == {}
    assert read(tmp_path, given, said).cut == {}
    roomy = make(decoder={"max_tokens": 400})
    answers = (roomy.prompts, ("captioning", "grounding", "dense_captioning"))
    assert read(tmp_path, given, said, answers=answers).cut == {}
    assert said == []


def test_an_answer_is_cut_from_the_first_token_too_many(tmp_path):
    model = make()
    pair = ("Describe the image.", "Left nodule. " * 20)
    [length] = model.prompts.lengths([pair])
    for room, whole in ((length, True), (length - 1, False)):
        model.prompts.max_tokens = room
        last = int(model.prompts.training([pair]).labels[0, -2])
        assert (last == model.prompts.stop[-1]) == whole
        given = [study(tmp_path, "one", text=pair[1])]
        found = read(tmp_path, given, answers=(model.prompts, ("captioning",)))
        assert found.cut == ({} if whole else {"reports": 1})


def test_a_training_says_what_it_cuts(tmp_path):
    class Source(list):
        name, split, n_total = "ours", "train", 3

    model, said = make(), []
    for own in (None, model.text_tokenizer):  # a stream's thread brings one of its own
        source = Source(cut_studies(tmp_path))
        found = fit._read(model, source, said.append, tokenizer=own, cache=tmp_path)
        assert found.cut == {"reports": 1, "box lists": 1, "phrases": 1}
    assert sum(line.startswith("cut in training: 1 of 3 reports") for line in said) == 2
