"""Where studies come from: twins, real trees, and the firewall."""

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from harness.errors import BenchError
from lofi.config import Data
from lofi.source import training_set

ROOTS = {"mimic-cxr": Path("a"), "mimic-cxr-jpg": Path("b"), "cxr-qba": Path("c")}


def test_lesion_boxes_exist_on_the_phantom_only():
    with pytest.raises(BenchError, match=r"lesion.*Expected 'region'"):
        training_set(Data(boxes="lesion"), "train", ROOTS)


def test_patients_of_the_test_splits_are_kept_out_of_training_and_only_there():
    judged = SimpleNamespace(name="mimic-cxr", samples=())
    with (
        mock.patch("lofi.source.load_dataset", return_value=judged) as asked,
        mock.patch("lofi.source.load_training") as loaded,
    ):
        training_set(Data(boxes="region"), "train", ROOTS)
        assert loaded.call_args.kwargs["keep_out"] == [judged]
        assert [one.kwargs["split"] for one in asked.call_args_list] == ["test"]
        training_set(Data(boxes="region"), "validation", ROOTS)
        assert list(loaded.call_args.kwargs["keep_out"]) == []


@pytest.mark.parametrize(("boxes", "tree"), [("lesion", "cxr-qba-lesion"), ("region", "cxr-qba")])
def test_a_twin_stands_in_where_no_tree_is_set(boxes, tree):
    names = ("mimic-cxr", "mimic-cxr-jpg", "cxr-qba", "cxr-qba-lesion", "truth")
    trees = {name: Path(name) for name in names}
    with (
        mock.patch("harness.phantom.cache.ensure_phantom", return_value=trees),
        mock.patch("lofi.source.load_training") as loaded,
    ):
        training_set(Data(boxes=boxes), "train", {}, limit=5)
    assert loaded.call_args.args[2]["cxr-qba"] == Path(tree)
    assert loaded.call_args.kwargs["variant"] == boxes
    assert loaded.call_args.kwargs["limit"] == 5
    assert loaded.call_args.kwargs["phantom"] is True
