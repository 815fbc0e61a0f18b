"""What a suite may name: metrics, what they need, which way is better, and their oracles."""

from collections.abc import Mapping

import numpy as np
import pytest

from harness.metrics.captioning import caption_outcomes
from harness.metrics.metric import Metric, value
from harness.metrics.oracles import ORACLES, ask_oracle, version_of
from harness.metrics.pool import pool_of
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.tasks import find_task

BOXES = """miou miou/macro f1@0.5 f1@0.5/all f1@0.5/macro set_f1@0.5 rodeo rodeo/all
rodeo/localization rodeo/localization/all rodeo/shape rodeo/shape/all specificity/negated
specificity/absent false_empty"""
MAPS = ("cnr", "cnr/absolute", "pointing", "pixel_auprc", "miou_swept")
NAMED = "a finding named rightly"
CHANGES = "side zone finding negation severity counterfactual mirror"

NEEDS: Mapping[str, Mapping[str, str]] = {
    "retrieval": {
        **{f"recall@{k}": "" for k in (1, 5, 10, 20, 40)},
        **dict.fromkeys(["mrr", "median_rank", "mean_rank", "ndcg@10", "tied_queries"], ""),
        **{f"label_precision@{k}": "labels" for k in (1, 5, 10)},
    },
    "grounding": {
        **dict.fromkeys(BOXES.split(), "boxes"),
        **{
            f"acc@{t}{kind}": "boxes"
            for t in (0.1, 0.3, 0.5, 0.7)
            for kind in ("", "/macro", "/single-box")
        },
        "malformed": "",
        **dict.fromkeys(["ap", "ap@0.5"], "a score per box"),
        **{f"{m}{kind}": "a heat map" for m in MAPS for kind in ("", "/in-field", "/macro")},
    },
    "probe": dict.fromkeys(
        ["accuracy", *(f"accuracy/{change}" for change in CHANGES.split()), "tied"], ""
    ),
    "captioning": {
        **dict.fromkeys(["finding_f1", "finding_recall", "finding_f1/macro"], "a report"),
        "finding_precision": "a finding named in a report",
        **dict.fromkeys(["side_accuracy", "zone_accuracy"], NAMED),
        "dense/finding_accuracy": "descriptions of boxes",
        **dict.fromkeys(["dense/side_accuracy", "dense/zone_accuracy"], NAMED),
    },
}
LOWER = {"median_rank", "mean_rank", "tied_queries", "false_empty", "malformed", "tied"}
UNBOUNDED = {f"cnr{which}{kind}" for which in ("", "/absolute") for kind in ("", "/in-field")}
UNBOUNDED |= {"cnr/macro", "cnr/absolute/macro", "median_rank", "mean_rank"}


@pytest.mark.parametrize("task", NEEDS)
def test_the_metrics_of_a_task_are_these_and_need_this(task: str) -> None:
    found = find_task(task).metrics
    assert {name: metric.needs for name, metric in found.items()} == NEEDS[task]
    for name, metric in found.items():
        assert metric.name == name
        assert metric.higher_is_better == (name not in LOWER), name
        assert metric.interval == (name not in ("ap", "ap@0.5")), name
        assert metric.bounded == (name not in UNBOUNDED), name
        assert metric.definition.endswith("."), name


def test_every_metric_is_defined_in_its_own_words() -> None:
    defined = [m.definition for task in NEEDS for m in find_task(task).metrics.values()]
    assert len(set(defined)) == len(defined)


@pytest.mark.parametrize(
    ("oracle", "asked"),
    [
        ("clip-benchmark", ["recall@1", "recall@5", "recall@10"]),
        ("pytrec-eval-terrier", ["mrr", "ndcg@10", "recall@10"]),
        ("faiss-cpu", ["recall@1", "recall@10"]),
        ("pycocotools", ["ap", "ap@0.5"]),
        ("faster-coco-eval", ["ap", "ap@0.5"]),
        ("rodeometric", ["rodeo/localization", "rodeo/shape", "rodeo"]),
        ("torchvision", ["sum of IoU", "sum of GIoU"]),
        ("painted pixels", ["miou"]),
        ("scikit-learn", ["pixel_auprc"]),
        ("scipy", ["bound of 0 of 40", "McNemar p"]),
    ],
)
def test_an_oracle_is_asked_by_these_names(oracle: str, asked: list[str]) -> None:
    assert oracle in ORACLES
    try:
        found = ask_oracle(oracle)
    except ImportError as error:
        pytest.skip(f"{oracle} is not installed: {error}")
    assert [one.metric for one in found] == asked


def test_an_oracle_has_the_version_of_its_package() -> None:
    assert version_of("numpy") == np.__version__
    assert version_of("painted pixels") == ""


def test_reports_that_name_nothing_are_scored_too() -> None:
    """No finding anywhere: there is no column, and nothing to be right or wrong about."""
    outcomes = caption_outcomes(
        patients=["a", "b"], dense=[False, True], truth=[[], []], said=[[], []]
    )
    found = {}
    for name, metric in find_task("captioning").metrics.items():
        with np.errstate(invalid="ignore"):
            found[name] = value(metric, outcomes)
    assert found.pop("dense/finding_accuracy") == 1  # nothing is there, and nothing was named
    assert all(np.isnan(number) for number in found.values()), found


def test_a_pool_of_one_film_has_its_own_score() -> None:
    pool, _ = pool_of(studies=["s"], patients=["p"], texts=["t"])
    found = rank_pairs(pool, Embeddings(np.float32([[0.6, 0.8]]), np.float32([[0.8, 0.6]])))
    for outcomes in found.values():
        assert outcomes.ranks.tolist() == [[1, 1, 1, 1]]
        assert outcomes.top_scores[0, 0] == pytest.approx(0.96)


def test_a_metric_over_findings_keeps_what_its_numbers_may_be() -> None:
    metrics: Mapping[str, Metric] = find_task("grounding").metrics
    for name, metric in metrics.items():
        if name.endswith("/macro"):
            inner = metrics[name.removesuffix("/macro")]
            assert (metric.bounded, metric.needs) == (inner.bounded, inner.needs), name
