"""`bench check` finds a card whose frame is not what the library's processor does to a film."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from baselines.cards import load
from harness.check import check_model

FRAME, GRID = "pixels in the declared frame", "answers in pixels of the declared frame"


@pytest.fixture
def with_rules(tiny, tmp_path):
    """A function: the tiny model with other rules in the section of its family."""

    def load_with(name: str, **rules):
        card = yaml.safe_load(Path(tiny(name), "card.yaml").read_text())
        section = card["family"].removeprefix("hf_")
        card[section].update(rules)
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(card))
        return load(card=str(tmp_path / f"{name}.yaml"), path=tiny(name))

    return load_with


@pytest.mark.parametrize(
    ("name", "rules", "promise", "said"),
    [
        ("tiny-gemma", {"coordinates": ""}, FRAME, "is not what is done to the pixels"),
        ("tiny-gemma", {"picture": ""}, FRAME, "the input is squashed"),
        ("tiny-owlv2", {"coordinates": ""}, FRAME, "is not what is done to the pixels"),
        ("tiny-owlv2", {"coordinates": "pad square"}, FRAME, "is not what is done"),
        ("tiny-grounding-dino", {"coordinates": "pad square corner"}, FRAME, "wrong frame"),
        ("tiny-florence", {"coordinates": "pad square"}, FRAME, "the input is squashed"),
        ("tiny-internvl", {"coordinates": "pad square"}, FRAME, "the input is squashed"),
        (
            "tiny-qwen2.5-vl",
            {"coordinates": "multiples 28 min 3136 max 1003520"},
            GRID,
            "the input has 112 x 84 pixels, the declared frame 252 x 168",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
def test_a_wrong_frame_on_a_card_breaks_that_promise_alone(
    with_rules, tmp_path, name, rules, promise, said
):
    verdicts = check_model(with_rules(name, **rules), tmp_path)
    broken = {v.promise: f"{v.detail} {v.hint}" for v in verdicts if v.outcome == "broken"}
    assert set(broken) == {promise}
    assert said in broken[promise]


@pytest.mark.parametrize("name", ["tiny-gemma", "tiny-qwen2.5-vl", "tiny-internvl", "tiny-owlv2"])
def test_what_a_model_sees_is_the_mark_where_the_frame_has_it_whatever_the_fill(
    tiny, tmp_path, name
):
    from harness.check_films import write_marked

    model = load(card=tiny(name))
    for mark in write_marked(tmp_path):
        pixels, frame = model.sees(mark.image)
        rows, columns = np.nonzero(pixels > pixels.max() / 2)
        height, width = pixels.shape
        box = frame.to_model(mark.boxes)[0]
        seen = np.array([columns.min() / width, rows.min() / height])
        seen = np.concatenate([seen, [(columns.max() + 1) / width, (rows.max() + 1) / height]])
        assert np.abs(seen - box).max() <= 1 / min(height, width)


@pytest.mark.parametrize("name", ["tiny-owlv2", "tiny-grounding-dino"])
def test_boxes_of_a_detector_come_back_from_centre_and_size(tiny, films, name):
    model = load(card=tiny(name))
    boxes = np.float32([[0.1, 0.62, 0.36, 0.88], [0.5, 0.0, 1.0, 0.25]])
    assert np.allclose(model.round_trip(films[1], boxes), boxes, atol=1e-6)
