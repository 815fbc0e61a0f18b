"""Made-up names: one per finding in every data set, held out from training."""

from pathlib import Path

import numpy as np

from harness.made_up import MADE_UP, draw_name, finding_of, is_held_out, with_made_up_names
from harness.samples import Dataset, ImageRef, PhraseBoxes

LEFT, RIGHT = [0.1, 0.1, 0.2, 0.2], [0.7, 0.1, 0.8, 0.2]


def sample(image: str, phrase: str, *boxes, **changes) -> PhraseBoxes:
    where = ImageRef(image, Path(f"{image}.png"), f"p{image}", f"s{image}")
    values = {"finding": "mass", "boxes": np.float32(boxes).reshape(-1, 4), **changes}
    return PhraseBoxes(f"{image}#{phrase}", where, phrase, **values)


def dataset(*samples: PhraseBoxes) -> Dataset:
    return Dataset(
        "ms-cxr", "grounding", "test", "frontal", "1", samples, n_total=7, excluded={"old": 2}
    )


def test_a_finding_of_an_image_is_one_sample_with_all_its_boxes() -> None:
    given = dataset(
        sample("a", "left mass", LEFT),
        sample("a", "two masses", LEFT, RIGHT),
        sample("a", "edema", RIGHT, finding="edema"),
        sample("b", "mass", RIGHT),
        sample("c", "no mass"),
    )
    found = with_made_up_names(given)
    names = [(one.image.image_id, one.phrase, one.boxes.tolist()) for one in found.samples]
    mass, edema = names[0][1], names[1][1]
    assert [name for _, name, _ in names] == [mass, edema, mass]
    assert mass != edema
    assert is_held_out(mass)
    assert np.allclose(names[0][2], [LEFT, RIGHT])
    assert found.cohort == MADE_UP
    assert found.n_total == found.n_used + sum(found.excluded.values())


def test_one_finding_has_one_name_in_all_data_sets_whatever_they_call_it() -> None:
    here = sample("a", "x", LEFT, finding="lung lesion", findings=(("mass", "left", ""),))
    there = sample("b", "y", LEFT, finding="pulmonary mass", findings=(("mass", "", ""),))
    names = {with_made_up_names(dataset(one)).samples[0].phrase for one in (here, there)}
    assert len(names) == 1
    assert finding_of(here) == finding_of(there) == "mass"


def test_samples_without_a_known_finding_are_left_out_and_counted() -> None:
    given = dataset(sample("a", "mass", LEFT), sample("b", "something", LEFT, finding=""))
    found = with_made_up_names(given)
    assert len(found.samples) == 1
    assert found.excluded["no made-up name"] == 4


def test_names_in_training_and_evaluation_never_meet() -> None:
    draw = np.random.default_rng(0)
    trained = {draw_name(draw, held_out=False) for _ in range(300)}
    kept = {draw_name(draw, held_out=True) for _ in range(300)}
    assert not trained & kept
    assert min(len(trained), len(kept)) > 290  # hardly any name comes twice
