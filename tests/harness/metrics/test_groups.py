from pathlib import Path

import numpy as np

from harness.metrics.groups import age_band, painted_areas, sample_groups, terciles
from harness.samples import ImageRef, ImageText, PhraseBoxes


def image(number, **facts):
    return ImageRef(f"i{number}", Path("none"), f"p{number}", f"s{number}", **facts)


def phrase(number, *rows, **facts):
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    return PhraseBoxes(f"q{number}", image(number), "phrase", boxes=boxes, **facts)


def members(groups):
    return {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()}


def test_view_sex_age_and_labels_of_texts():
    samples = [
        ImageText("a", image(0, view="PA", sex="F", age=30.0), "x", labels=("effusion",)),
        ImageText("b", image(1, view="AP", sex="M", age=60.0), "x", labels=("edema", "effusion")),
        ImageText("c", image(2), "x", groups={"scanner": "old"}),
    ]
    assert members(sample_groups(samples)) == {
        "view=AP": [1],
        "view=PA": [0],
        "sex=F": [0],
        "sex=M": [1],
        "age=60-79": [1],
        "age=<40": [0],
        "scanner=old": [2],
        "label=edema": [1],
        "label=effusion": [0, 1],
    }


def test_phrases_divide_by_finding_box_area_and_visibility():
    sides = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    samples = [
        phrase(i, [0, 0, side, side], finding="ab"[i % 2], visibility=float(-i))
        for i, side in enumerate(sides)
    ]
    found = members(sample_groups([*samples, phrase(9)]))
    assert found["finding=a"] == [0, 2, 4]
    assert (found["area=small"], found["area=medium"], found["area=large"]) == (
        [0, 1],
        [2, 3],
        [4, 5],
    )
    assert (found["visibility=low"], found["visibility=high"]) == ([4, 5], [0, 1])


def test_the_painted_area_counts_an_overlap_once():
    twice = phrase(0, [0, 0, 0.5, 1], [0.25, 0, 0.5, 1])
    assert painted_areas([twice, phrase(1)])[0] == 0.5
    assert np.isnan(painted_areas([phrase(1)])[0])


def test_equal_values_are_not_cut_into_terciles():
    assert terciles(np.array([1.0, 1.0, 1.0]), ("a", "b", "c")) == ["", "", ""]


def test_age_bands_meet_without_gap():
    assert [age_band(a) for a in (0.0, 39.0, 40.0, 59.0, 60.0, 79.0, 80.0, 120.0)] == [
        "<40", "<40", "40-59", "40-59", "60-79", "60-79", "80+", "80+",
    ]  # fmt: skip
    assert age_band(float("nan")) == ""


def test_no_samples_have_no_groups():
    assert sample_groups([]) == {}
