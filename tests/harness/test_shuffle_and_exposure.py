"""The shuffled control never sees the right patient; what a model has seen is marked."""

from pathlib import Path

import pytest

from baselines.controls import describe
from harness.exposure import exposure, tuned_on, worst
from harness.models import ModelCard, NotScorable, TrainedOn
from harness.samples import Dataset, ImageRef
from harness.tasks.shuffle import other_images


def image(number: int, patient: str, view: str = "PA") -> ImageRef:
    return ImageRef(f"i{number}", Path("x"), patient, f"s{number}", view)


def test_every_image_is_replaced_by_another_patients_of_the_same_view() -> None:
    images = [image(n, f"p{n // 2}", "PA" if n % 2 else "AP") for n in range(40)]
    for own, other in zip(images, other_images(images, seed=3), strict=True):
        assert own.patient_id != other.patient_id
        assert own.view == other.view


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    images = [image(n, f"p{n}") for n in range(30)]
    chosen = {i.image_id: o.image_id for i, o in zip(images, other_images(images, 0), strict=True)}
    back = images[::-1]
    assert {
        i.image_id: o.image_id for i, o in zip(back, other_images(back, 0), strict=True)
    } == chosen
    assert [o.image_id for o in other_images(images, 1)] != list(chosen.values())


def test_a_lone_view_takes_another_view_and_a_lone_patient_cannot_be_shuffled() -> None:
    images = [image(0, "a", "LATERAL"), image(1, "b"), image(2, "c")]
    assert other_images(images, 0)[0].patient_id != "a"
    with pytest.raises(NotScorable):
        other_images([image(0, "a"), image(1, "a")], 0)


def dataset(name: str, split: str, phantom: bool = False) -> Dataset:
    return Dataset(name, "grounding", split, "frontal", "1", (), phantom=phantom)


@pytest.mark.parametrize(
    ("seen", "name", "split", "phantom", "mark"),
    [
        (TrainedOn("mimic-cxr", "train"), "ms-cxr", "test", False, "internal"),
        (TrainedOn("mimic-cxr", "all"), "ms-cxr", "test", False, "contaminated"),
        (TrainedOn("ms-cxr", "test", "boxes"), "ms-cxr", "pooled-eval", False, "contaminated"),
        (TrainedOn("mimic-cxr", "train"), "padchest-gr", "test", False, "external"),
        (TrainedOn("mimic-cxr-phantom", "train"), "ms-cxr", "test", True, "internal"),
        (TrainedOn("mimic-cxr-phantom", "train"), "ms-cxr", "test", False, "external"),
        (TrainedOn("mimic-cxr", "train"), "ms-cxr", "test", True, "external"),
        (TrainedOn("mimic-cxr", "train"), "mimic-cxr", "all", False, "contaminated"),
        (TrainedOn("laion-2b"), "mimic-cxr", "test", False, "external"),
    ],
)
def test_exposure_follows_patients_and_splits(
    seen: TrainedOn, name: str, split: str, phantom: bool, mark: str
) -> None:
    card = ModelCard("m", "f", trained_on=(seen,))
    assert exposure(card, dataset(name, split, phantom)) == mark


@pytest.mark.parametrize(
    ("name", "phantom", "mark"),
    [("ms-cxr", False, "internal"), ("ms-cxr", True, "internal"), ("manifest", False, "external")],
)
def test_a_threshold_tuned_on_the_targets_source_makes_the_row_internal(
    name: str, phantom: bool, mark: str
) -> None:
    assert tuned_on("ms-cxr", dataset(name, "test", phantom)) == mark


@pytest.mark.parametrize("name", ["mean-box", "text-only", "centre-box"])
def test_boxes_averaged_over_the_targets_training_split_are_internal(name: str) -> None:
    expected = "external" if name == "centre-box" else "internal"
    for data in (dataset("ms-cxr", "test", True), dataset("manifest", "all")):
        assert exposure(describe(name), data) == expected


def test_an_undisclosed_model_is_unknown_and_never_external() -> None:
    assert exposure(ModelCard("m", "f", trained_on=None), dataset("ms-cxr", "test")) == "unknown"
    assert worst([]) == "external"
    assert worst(["internal", "contaminated", "unknown"]) == "contaminated"
