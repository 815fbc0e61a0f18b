"""What films and boxes of a twin are worth: box controls, and probes that should find nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image as Pillow

from harness.box_tables import BoxTable, clipped
from harness.boxes import Boxes, no_boxes
from harness.metrics.overlap import union_iou
from harness.metrics.ragged import ragged
from harness.phantom.film import render_study
from harness.phantom.measure_text import Row
from harness.phantom.parallel import run_jobs
from harness.phantom.plan import Rendering
from harness.phantom.world import plan_study
from harness.samples import PhraseBoxes

THUMBNAIL = 8
FOLDS = 5
RIDGE = 30.0
NULL_DRAWS = 40
LEAST_POSITIVES = 15


def mean_union_iou(answers: Sequence[Boxes], samples: Sequence[PhraseBoxes]) -> float:
    """Mean over phrases of the IoU of painted unions."""
    return float(union_iou(ragged(answers), ragged([s.boxes for s in samples])).mean())


def measure_boxes(samples: Sequence[PhraseBoxes], table: BoxTable, name: str) -> list[Row]:
    """The mean union IoU of each control on movable boxed phrases."""
    movable = [s for s in samples if len(s.boxes) and not s.fixed and s.kind == "finding"]

    def row(what: str, answers: Sequence[Boxes], asked: str = "") -> Row:
        return f"{name}: mIoU {what}", mean_union_iou(answers, movable), asked

    return [
        (f"{name}: movable boxed phrases", float(len(movable)), ""),
        row("text-only", [clipped(table.answer(s, words=True)) for s in movable], "<= 0.30"),
        row("mean-box", [clipped(table.answer(s, words=False)) for s in movable]),
        row("second-reader", [_or_none(s.second_reader) for s in movable]),
        row("region-oracle", [_or_none(s.region_boxes) for s in movable]),
    ]


def _or_none(boxes: Boxes | None) -> Boxes:
    return no_boxes() if boxes is None else boxes


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve; ties count half.

    >>> auc(np.array([0.1, 0.4, 0.4]), np.array([False, True, False]))
    0.75
    """
    higher = scores[positive][:, None] > scores[~positive][None, :]
    equal = scores[positive][:, None] == scores[~positive][None, :]
    return float((higher + 0.5 * equal).mean())


def probe_auc(
    features: Float[np.ndarray, "n d"], labels: Float[np.ndarray, "n k"], patients: np.ndarray
) -> Float[np.ndarray, " k"]:
    """Held-out AUC of a ridge regression per label, patients kept whole in five folds."""
    spread = features.std(axis=0)
    x = (features - features.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    x = np.column_stack([x, np.ones(len(x))])
    fold = np.unique(patients, return_inverse=True)[1] % FOLDS
    held = np.zeros(labels.shape)
    for part in range(FOLDS):
        train, test = x[fold != part], fold == part
        weights = np.linalg.solve(
            train.T @ train + RIDGE * np.eye(x.shape[1]), train.T @ labels[fold != part]
        )
        held[test] = x[test] @ weights - labels[fold != part].mean(axis=0)
    return np.array([auc(held[:, k], labels[:, k] > 0) for k in range(labels.shape[1])])


def floor_of(
    features: Float[np.ndarray, "n d"], labels: Float[np.ndarray, "n k"], patients: np.ndarray
) -> tuple[float, float]:
    """Mean AUC and its 95th percentile when the patients' labels are dealt out anew by chance."""
    rng = np.random.default_rng(0)
    means = [
        probe_auc(features, labels[rng.permutation(len(labels))], patients).mean()
        for _ in range(NULL_DRAWS)
    ]
    return float(np.mean(means)), float(np.quantile(means, 0.95))


def metadata_features(studies: pd.DataFrame, files: Sequence[Path]) -> Float[np.ndarray, "n d"]:
    """View, sex, age, file size, and the digits of ids: what a shortcut could read."""
    ids = studies["image_id"].str.replace(r"\W", "", regex=True)
    columns = [
        (studies["view"] == "AP").to_numpy(float),
        (studies["sex"] == "F").to_numpy(float),
        studies["age"].to_numpy(float),
        np.array([file.stat().st_size for file in files], float),
        studies["study_id"].str[-1].astype(int).to_numpy(float),
        ids.map(lambda name: int(name[-6:], 36) % 1000).to_numpy(float),
        studies["index"].to_numpy(float),
    ]
    return np.column_stack(columns)


def thumbnail(pixels: np.ndarray) -> Float[np.ndarray, " d"]:
    """Means of an 8 x 8 grid, brightness and contrast of the whole taken out."""
    small = Pillow.fromarray(pixels.astype(np.float32)).resize(
        (THUMBNAIL, THUMBNAIL), Pillow.Resampling.BOX
    )
    values = np.asarray(small, np.float64).ravel()
    spread = float(values.std())
    return np.asarray((values - values.mean()) / (spread or 1.0))


def _empty_thumbnail(job: tuple[Rendering, str, int]) -> np.ndarray:
    """The thumbnail of the study's first film with all its findings taken out."""
    plan = plan_study(*job)
    return thumbnail(render_study(plan, without=range(len(plan.findings)))[0].pixels)


def measure_shortcuts(
    twin: Rendering, studies: pd.DataFrame, findings: pd.DataFrame, files: Sequence[Path]
) -> list[Row]:
    """Held-out AUC, averaged over findings, of probes that should know nothing, and their floor.

    The labels are the findings that the patients have. `no finding drawn` films are the same
    patients, exposures, noise and markers with the findings left out: only they must be silent.
    """
    planned = findings.groupby("study_id")["name"].agg(set)
    names = sorted(set(findings["name"]))
    labels = np.array(
        [[name in planned.get(s, set()) for name in names] for s in studies["study_id"]], float
    )
    labels = labels[:, labels.sum(axis=0) >= LEAST_POSITIVES]
    patients = studies["patient_id"].to_numpy()
    jobs = [
        (twin, split, int(k)) for split, k in zip(studies["split"], studies["index"], strict=True)
    ]
    metadata = metadata_features(studies, files)
    empty = np.array(list(run_jobs(_empty_thumbnail, jobs)))
    shown = np.array([thumbnail(np.asarray(Pillow.open(file))) for file in files])
    silent = np.column_stack([metadata, empty])
    floor = floor_of(silent, labels, patients)
    return [
        ("probe AUC: metadata", float(probe_auc(metadata, labels, patients).mean()), "0.5"),
        (
            "probe AUC: metadata + thumbnail, no finding drawn",
            float(probe_auc(silent, labels, patients).mean()),
            f"<= {floor[1]:.3f}",
        ),
        ("  its floor (labels dealt by chance)", floor[0], ""),
        (
            "probe AUC: metadata + thumbnail as they are",
            float(probe_auc(np.column_stack([metadata, shown]), labels, patients).mean()),
            "sees large findings",
        ),
    ]
