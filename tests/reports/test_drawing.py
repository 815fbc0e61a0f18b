import numpy as np
import pytest

from reports.drawing import PREDICTED_COLOR, TRUE_COLOR, draw_sample


def colored(picture, color, rows=slice(None), columns=slice(None)):
    return (np.asarray(picture)[rows, columns] == color).all(axis=-1)


def test_a_true_box_is_green_and_lies_where_it_should(film):
    picture = draw_sample(film, true=np.float32([[0.5, 0.5, 1.0, 1.0]]), side=80)
    ys, xs = np.nonzero(colored(picture, TRUE_COLOR, slice(0, 60)))
    assert (xs.min(), ys.min()) == (41, 31)  # one pixel inside the black rim at (40, 30)
    assert len(xs) > 100


def test_a_predicted_box_is_orange_and_dashed(film):
    picture = draw_sample(film, predicted=np.float32([[0.0, 0.0, 1.0, 0.5]]), side=320)
    side = colored(picture, PREDICTED_COLOR, slice(0, 240), slice(0, 320))[120]
    assert 0.2 < side[:300].mean() < 0.8


def test_a_phrase_is_drawn_only_when_given(film):
    with_phrase = draw_sample(film, phrase="effusion", side=80)
    assert with_phrase.size[1] == draw_sample(film, side=80).size[1] + 18


def test_a_long_phrase_takes_three_lines_at_most(film):
    picture = draw_sample(film, phrase="small opacity " * 60, side=80)
    assert picture.size[1] <= 60 + 26 + 3 * 18


def test_heat_is_where_the_map_is_high_and_nowhere_unseen(film):
    heat = np.full((2, 2), np.nan, np.float32)
    heat[0] = [0.0, 1.0]
    plain = np.asarray(draw_sample(film, side=80), np.int16)[:60]
    warm = np.asarray(draw_sample(film, heatmap=heat, side=80), np.int16)[:60]
    change = np.abs(warm - plain).sum(axis=-1)
    assert change[:15, 60:].mean() > 50
    assert change[50:].max() <= 3


def test_a_map_that_is_nan_everywhere_changes_nothing(film):
    heat = np.full((3, 3), np.nan, np.float32)
    assert draw_sample(film, heatmap=heat).tobytes() == draw_sample(film).tobytes()


def test_a_constant_map_is_drawn_without_a_warning(film):
    assert draw_sample(film, heatmap=np.ones((3, 3), np.float32)).size == (320, 266)


def test_colored_pixels_are_refused():
    with pytest.raises(ValueError, match=r"\(h, w\)"):
        draw_sample(np.zeros((4, 4, 3), np.uint8))


def test_the_same_sample_gives_the_same_bytes(film):
    box = np.float32([[0.1, 0.1, 0.4, 0.9]])
    first, second = (draw_sample(film, true=box, phrase="x", note="IoU 0.4") for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [0.5, 0.5, 0.501, 0.501], [0.999, 0, 1, 1]])
def test_a_box_at_the_border_or_tiny_is_drawn_without_error(film, box):
    boxes = np.float32([box])
    assert draw_sample(film, true=boxes, predicted=boxes).size[0] == 320


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.501, 0.501], [0.998, 0, 1, 1], [0, 0, 0.003, 0.003]])
def test_a_tiny_box_is_seen(film, box):
    picture = draw_sample(film, true=np.float32([box]))
    assert colored(picture, TRUE_COLOR, slice(0, 240)).sum() >= 8
