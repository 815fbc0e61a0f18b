from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.datasets import DATASETS, Request, dataset_spec, load_dataset
from harness.datasets.table import check_function
from harness.errors import BenchError
from harness.roots import ROOTS
from harness.samples import Dataset


def refused(name: str = "manifest", **more: object) -> str:
    kind: dict[str, object] = {"task": "retrieval", "split": "all", "roots": {}, **more}
    with pytest.raises(BenchError) as caught:
        load_dataset(name, **kind)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if spec.check])
def test_every_entry_names_functions_and_roots_that_exist(name: str) -> None:
    spec = dataset_spec(name)
    assert {*spec.trees, *spec.images, *spec.optional} <= set(ROOTS)
    assert callable(check_function(spec))
    module, _, function = spec.load.partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_an_unknown_dataset_task_split_or_cohort_suggests_the_near_one() -> None:
    assert "Did you mean 'ms-cxr'" in refused("ms-cxt")
    assert "Did you mean 'grounding'" in refused("ms-cxr", task="groundin")
    assert "Did you mean 'validation'" in refused("mimic-cxr", split="validate")
    assert "Did you mean 'spanish'" in refused("padchest-gr", cohort="spanis")


def test_a_tree_that_is_not_set_says_how_to_get_it() -> None:
    assert "no ms-cxr folder is set. It needs a PhysioNet account" in refused(
        "ms-cxr", task="grounding"
    )


def test_images_may_come_from_either_of_two_trees(tmp_path: Path) -> None:
    spec = DATASETS["ms-cxr"]
    assert "mimic-cxr-jpg or mimic-cxr" in spec.missing({"ms-cxr": tmp_path})
    assert spec.missing({"ms-cxr": tmp_path, "mimic-cxr": tmp_path}) == ""


def test_the_twin_stands_in_only_where_no_tree_is_set(tmp_path: Path) -> None:
    assert DATASETS["ms-cxr"].is_phantom({})
    assert DATASETS["ms-cxr"].is_phantom({"padchest-gr": tmp_path})
    assert not DATASETS["ms-cxr"].is_phantom({"mimic-cxr-jpg": tmp_path})
    assert not DATASETS["manifest"].is_phantom({})


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    assert "at least 1" in refused(roots={"manifest": tmp_path}, limit=0)


def outside(request: Request) -> Dataset:
    return Dataset("outside", request.task, request.split, request.cohort, "1", ())


def test_a_loader_outside_the_package_is_called_by_name() -> None:
    roots: Mapping[str, Path] = {}
    name = "tests.harness.datasets.test_table:outside"
    dataset = load_dataset(name, task="retrieval", split="dev", roots=roots)
    assert (dataset.name, dataset.split) == ("outside", "dev")


def test_a_loader_that_is_not_there_is_an_error_of_the_user() -> None:
    assert "no module 'nowhere.at_all'" in refused("nowhere.at_all:load")
    assert "has no 'gone'" in refused("tests.harness.datasets.test_table:gone")
