"""Our numbers beside those of independent implementations, on data made up on the spot."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.metrics import coco, overlap, pixels, rodeo
from harness.metrics.bootstrap import binomial_bounds
from harness.metrics.compare import mcnemar
from harness.metrics.metric import value
from harness.metrics.pool import RetrievalPool, pool_of
from harness.metrics.ragged import Ragged, ragged
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import RETRIEVAL_METRICS

PAIRS = 300
PHRASES = 150


@dataclass(frozen=True)
class Agreement:
    """One number computed twice; `tolerance` is how far apart the two may lie."""

    metric: str
    ours: float
    theirs: float
    tolerance: float = 1e-9

    @property
    def difference(self) -> float:
        """How far apart the two lie."""
        return abs(self.ours - self.theirs)

    @property
    def agrees(self) -> bool:
        """Whether that is near enough."""
        return self.difference <= self.tolerance


def _pairs() -> tuple[RetrievalPool, np.ndarray, np.ndarray]:
    """Pairs whose scores have no ties, so that all peers order them alike."""
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(PAIRS, 24))
    names = [str(row) for row in range(PAIRS)]
    pool, _ = pool_of(studies=names, patients=names, texts=names)
    return pool, texts + rng.normal(size=texts.shape) * 1.5, texts


def _retrieval_numbers(names: Mapping[str, float], tolerance: float) -> Iterator[Agreement]:
    pool, images, texts = _pairs()
    queries = rank_pairs(pool, Embeddings(images, texts))["text_to_image"].under("instance")
    for name, theirs in names.items():
        yield Agreement(name, value(RETRIEVAL_METRICS[name], queries), theirs, tolerance)


def clip_benchmark() -> Iterator[Agreement]:
    """Recall@K, text to image, against `recall_at_k`."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import (  # type: ignore[import-untyped]
        recall_at_k,
    )

    _, images, texts = _pairs()
    scores, own = torch.from_numpy(texts @ images.T), torch.eye(PAIRS, dtype=torch.bool)
    found = {k: float((recall_at_k(scores, own, k) > 0).double().mean()) for k in (1, 5, 10)}
    yield from _retrieval_numbers({f"recall@{k}": v for k, v in found.items()}, 1e-12)


def trec_eval() -> Iterator[Agreement]:
    """MRR, nDCG and hit rate against trec_eval."""
    import pytrec_eval

    _, images, texts = _pairs()
    scores = texts @ images.T
    names = [f"{row:04d}" for row in range(PAIRS)]
    relevant = {name: {name: 1} for name in names}
    run = {
        n: dict(zip(names, row.tolist(), strict=True)) for n, row in zip(names, scores, strict=True)
    }
    wanted = {"recip_rank", "ndcg_cut.10", "success.10"}
    found = pytrec_eval.RelevanceEvaluator(relevant, wanted).evaluate(run)
    peers = {"mrr": "recip_rank", "ndcg@10": "ndcg_cut_10", "recall@10": "success_10"}
    means = {ours: float(np.mean([q[p] for q in found.values()])) for ours, p in peers.items()}
    yield from _retrieval_numbers(means, 1e-12)


def faiss_flat() -> Iterator[Agreement]:
    """Recall@1 and Recall@10 against an exact inner-product search."""
    import faiss

    _, images, texts = _pairs()
    index = faiss.IndexFlatIP(images.shape[1])
    index.add(images.astype(np.float32))
    hits = index.search(texts.astype(np.float32), 10)[1] == np.arange(PAIRS)[:, None]
    found = {f"recall@{k}": float(hits[:, :k].any(axis=1).mean()) for k in (1, 10)}
    yield from _retrieval_numbers(found, 1e-12)


def _drawn(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.random((count, 2)) * 0.7
    return np.hstack([corner, corner + 0.05 + rng.random((count, 2)) * 0.25])


def _phrases() -> tuple[Ragged, Ragged, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = [_drawn(rng, int(count)) for count in rng.integers(0, 4, PHRASES)]
    moved = [t + rng.normal(0, 0.02, (len(t), 2))[:, [0, 1, 0, 1]] for t in truth]
    predicted = [np.vstack([m, _drawn(rng, int(rng.integers(0, 3)))]) for m in moved]
    return ragged(predicted), ragged(truth), np.round(rng.random(sum(map(len, predicted))), 2)


def _our_precision() -> tuple[float, float]:
    rows = coco.detection_rows(*_phrases())
    once = np.ones((1, len(rows)))
    every, half = range(len(coco.THRESHOLDS)), range(1)
    return tuple(float(coco.average_precision(rows, once, bits)[0]) for bits in (every, half))  # type: ignore[return-value]


def pycocotools() -> Iterator[Agreement]:
    """AP against `COCOeval.accumulate`."""
    evaluation = coco.coco_evaluation(*_phrases())
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]
    ours = _our_precision()
    yield Agreement("ap", ours[0], float(precision.mean()), 1e-12)
    yield Agreement("ap@0.5", ours[1], float(precision[0].mean()), 1e-12)


def faster_coco_eval() -> Iterator[Agreement]:
    """AP against faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    predicted, truth, scores = _phrases()
    images = [{"id": phrase, "width": 1000, "height": 1000} for phrase in range(len(truth))]
    with contextlib.redirect_stdout(io.StringIO()):
        side = COCO(
            {
                "images": images,
                "categories": [{"id": 1, "name": "box"}],
                "annotations": coco.annotations(truth, None),
            }
        )
        answers = side.loadRes(coco.annotations(predicted, scores))
        evaluation = COCOeval_faster(side, answers, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = _our_precision()
    yield Agreement("ap", ours[0], float(evaluation.stats[0]))
    yield Agreement("ap@0.5", ours[1], float(evaluation.stats[1]))


def _official_rows(sets: Ragged) -> list[np.ndarray]:
    """Boxes as the official RoDeO takes them: corner, width, height, class 1."""
    return [
        np.column_stack([b[:, :2], b[:, 2:] - b[:, :2], np.ones(len(b))]).reshape(-1, 5)
        for b in (sets[phrase] for phrase in range(len(sets)))
    ]


def official_rodeo() -> Iterator[Agreement]:
    """RoDeO against rodeometric 0.0.1."""
    import rodeo as package  # type: ignore[import-untyped]
    import rodeo.rodeo as code  # type: ignore[import-untyped]

    predicted, truth, _ = _phrases()
    inner = code.matthews_corrcoef
    # 0.0.1 calls .clip on the result, which is a plain float in scikit-learn >= 1.7.
    code.matthews_corrcoef = lambda *arguments: np.float64(inner(*arguments))
    try:
        official = package.RoDeO(class_names=["0", "1"])
        official.add(_official_rows(predicted), _official_rows(truth))
        found = official.compute()
    finally:
        code.matthews_corrcoef = inner
    none = np.zeros(len(truth), bool)
    sums = rodeo.rodeo_rows(predicted, truth, none).sum(axis=0, keepdims=True)
    for name, part, key, tolerance in (
        ("rodeo/localization", rodeo.localization, "localization", 1e-9),
        ("rodeo/shape", rodeo.shape_matching, "shape_matching", 1e-9),
        ("rodeo", rodeo.total_score, "total", 2e-6),  # theirs adds 1e-6 to each part
    ):
        ours = float(part.of_sums(sums, np.ones(1))[0])
        yield Agreement(name, ours, float(found[f"RoDeO/{key}"]), tolerance)


def torchvision() -> Iterator[Agreement]:
    """Sums of IoU and generalized IoU over all pairs of boxes."""
    import torch
    from torchvision.ops import (  # type: ignore[import-untyped]
        box_iou,
        generalized_box_iou,
    )

    a, b = _drawn(np.random.default_rng(2), 40), _drawn(np.random.default_rng(3), 40)
    pair = torch.from_numpy(a), torch.from_numpy(b)
    yield Agreement("sum of IoU", overlap.iou_matrix(a, b).sum(), float(box_iou(*pair).sum()))
    ours = float(overlap.giou_matrix(a, b).sum())
    yield Agreement("sum of GIoU", ours, float(generalized_box_iou(*pair).sum()))


def painting() -> Iterator[Agreement]:
    """Union IoU against pixels painted one by one (boxes on the grid, so both are exact)."""
    rng = np.random.default_rng(4)
    side, sets = 48, []
    for _ in range(2):
        corners = rng.integers(0, side, (40, 2, 2, 2))
        sets.append(np.concatenate([corners.min(axis=2), corners.max(axis=2) + 1], axis=2) / side)
    ours = overlap.union_iou(ragged(list(sets[0])), ragged(list(sets[1])))
    theirs = []
    for predicted, truth in zip(*sets, strict=True):
        a, b = (pixels.box_mask(boxes, (side, side)) for boxes in (predicted, truth))
        theirs.append((a & b).sum() / (a | b).sum())
    yield Agreement("miou", float(ours.mean()), float(np.mean(theirs)), 1e-12)


def scikit_learn() -> Iterator[Agreement]:
    """Pixel AUPRC with many equal values."""
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(5)
    values, inside = rng.integers(0, 20, 2000).astype(float), rng.random(2000) < 0.2
    theirs = float(average_precision_score(inside, values))
    yield Agreement("pixel_auprc", pixels.average_precision(values, inside), theirs, 1e-12)


def scipy_stats() -> Iterator[Agreement]:
    """Exact binomial bound and McNemar's p value."""
    from scipy.stats import binomtest

    exact = binomtest(0, 40).proportion_ci(method="exact")
    yield Agreement("bound of 0 of 40", binomial_bounds(0.0, 40)[1], float(exact.high), 1e-12)
    a, b = np.arange(30) < 9, np.arange(30) >= 26
    theirs = float(binomtest(9, 13).pvalue)
    yield Agreement("McNemar p", mcnemar(a, b, np.arange(30)).p, theirs, 1e-12)


ORACLES: Mapping[str, Callable[[], Iterator[Agreement]]] = {
    "clip-benchmark": clip_benchmark,
    "pytrec-eval-terrier": trec_eval,
    "faiss-cpu": faiss_flat,
    "pycocotools": pycocotools,
    "faster-coco-eval": faster_coco_eval,
    "rodeometric": official_rodeo,
    "torchvision": torchvision,
    "painted pixels": painting,
    "scikit-learn": scikit_learn,
    "scipy": scipy_stats,
}


def ask_oracle(name: str) -> list[Agreement]:
    """The numbers of one oracle.

    Raises:
        ImportError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the peers
        return list(ORACLES[name]())


def version_of(name: str) -> str:
    """The installed version of an oracle's distribution; "" if it has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found: Any = version(name)
    except PackageNotFoundError:
        return ""
    return str(found)
