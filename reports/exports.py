"""Runs in other people's formats: Hugging Face metadata, COCO results, one Parquet of outcomes."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from harness.atomic import write_bytes, write_text
from harness.boxes import to_xywh
from harness.errors import BenchError
from harness.images import Image
from harness.record import RunRecord
from harness.samples import Dataset, PhraseBoxes
from harness.store import safe_name
from harness.tasks import find_task
from harness.tasks.grounding import stored_answers
from reports.definitions import definition, is_key
from reports.runs import DatasetSource, Runs

HEAD = ("model", "key", "task", "dataset", "phantom", "cohort", "split", "text_policy")
PRIVATE_COLUMNS = ("raw",)  # a model's own words may quote a report
BULKY = ("heatmap", "heatmap_h", "heatmap_w")


def finished(runs: Runs) -> list[RunRecord]:
    """The records with scores, models and controls alike."""
    return [record for record in runs.records if record.status == "ok" and record.scores]


def model_index(records: Sequence[RunRecord]) -> str:
    """The `model-index` block of a Hugging Face model card for one model, as YAML.

    Key metrics over all samples; a phantom is named as such, so that nobody takes it for patients.

    Source: huggingface.co/docs/hub/model-cards, "Evaluation results".
    """
    results = [_result(record) for record in records]
    name = records[0].model.name
    front = {"model-index": [{"name": name, "results": [r for r in results if r["metrics"]]}]}
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _result(record: RunRecord) -> dict[str, Any]:
    data = record.dataset
    kind = "phantom twin of " * data.phantom
    task = {"retrieval": "feature-extraction", "grounding": "zero-shot-object-detection"}
    return {
        "task": {"type": task.get(record.task, "image-to-text"), "name": record.task},
        "dataset": {
            "type": data.name,
            "name": f"{kind}{data.name} ({', '.join(_variant(record))})",
            "split": data.split,
            "revision": data.fingerprint[:16],
        },
        "metrics": [
            {
                "type": "_".join(filter(None, (score.metric, score.direction, score.relevance))),
                "name": " ".join(
                    filter(None, (score.direction, definition(score.metric).label, score.relevance))
                ),
                "value": score.value,
                "verified": False,
            }
            for score in record.scores
            if score.group == "all" and score.value is not None and is_key(score.metric)
        ],
    }


def _variant(record: RunRecord) -> list[str]:
    """The cohort and, where it is not the model's own truncation, how long texts were read."""
    policy = [f"text {record.text_policy}"] * (record.text_policy != "official")
    return [record.dataset.cohort or "all", *policy]


def outcomes_frame(runs: Runs, *, private: bool = False) -> pd.DataFrame:
    """All outcomes of all cells: one row per cell, sample and, in retrieval, direction.

    Raw answers only if `private`; heat maps stay in the cells.
    """
    return pd.concat([*_outcome_parts(runs, private)], ignore_index=True)


def _outcome_parts(runs: Runs, private: bool) -> Iterator[pd.DataFrame]:
    yield pd.DataFrame(columns=[*HEAD, "sample_id", "patient_id"], dtype="object")
    for record in finished(runs):
        frame = runs.cell(record).read(find_task(record.task).kinds[0])
        if frame.empty:
            continue
        hidden = [*BULKY, *(() if private else PRIVATE_COLUMNS)]
        frame = frame.drop(columns=[name for name in hidden if name in frame])
        for name, value in reversed(list(zip(HEAD, _head(record), strict=True))):
            frame.insert(0, name, value)
        yield frame


def _head(record: RunRecord) -> tuple[object, ...]:
    data = record.dataset
    where = (record.task, data.name, data.phantom, data.cohort, data.split, record.text_policy)
    return (record.model.name, record.key, *where)


def coco_files(
    record: RunRecord,
    dataset: Dataset,
    runs: Runs,
    *,
    stems: tuple[str, str] | None = None,
    private: bool = False,
) -> dict[str, str]:
    """COCO results of a grounding cell by file name: one COCO image per (image, phrase).

    The results hold the model's boxes in pixels of the original image (score 1 where the model
    gives none). The truth file, for pycocotools, is left out for restricted data unless `private`:
    it holds annotations made under an agreement; phrases are never written. `stems` are what the
    names of both begin with, if not the names of data and model.
    """
    answer_stem, truth_stem = stems or _stems([record])[record.key]
    samples = [s for s in dataset.samples if isinstance(s, PhraseBoxes)]
    answers = stored_answers(runs.cell(record))
    sizes = {s.image.image_id: Image(s.image.image_id, s.image.file).size() for s in samples}
    results: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, 1):
        answer = answers[sample.sample_id]
        width, height = sizes[sample.image.image_id]
        scores = [1.0] * len(answer.boxes) if answer.scores is None else answer.scores.tolist()
        boxes = to_xywh(answer.boxes, width=width, height=height).tolist()
        for box, score in zip(boxes, scores, strict=True):
            results.append({"image_id": number, "category_id": 1, "bbox": box, "score": score})
    files = {f"{answer_stem}.coco-results.json": json.dumps(results)}
    if private or not record.dataset.restricted:
        files[f"{truth_stem}.coco-truth.json"] = json.dumps(_truth(samples, sizes))
    return files


def _stems(records: Sequence[RunRecord]) -> dict[str, tuple[str, str]]:
    """Key -> what the names of its results and of its truth begin with.

    The cohort is named where it is not a dataset's own; the key or fingerprint where two cells
    would still share a name (runs with and without a limit, phantoms beside real data).
    """
    data = {r.key: _name_of_data(r) for r in records}
    models = {r.key: f"{data[r.key]}-{r.model.name}" for r in records}
    twins = Counter(models.values())
    prints = Counter(where for where, _ in {(data[r.key], r.dataset.fingerprint) for r in records})
    return {
        r.key: (
            safe_name(models[r.key] + f"-{r.key[:8]}" * (twins[models[r.key]] > 1)),
            safe_name(data[r.key] + f"-{r.dataset.fingerprint[:8]}" * (prints[data[r.key]] > 1)),
        )
        for r in records
    }


def _name_of_data(record: RunRecord) -> str:
    data = record.dataset
    cohort = "" if data.cohort in ("", "as-given", "frontal") else f"-{data.cohort}"
    return f"{data.name}-{data.split}{cohort}"


def _truth(
    samples: Sequence[PhraseBoxes], sizes: dict[str, tuple[int, int]]
) -> dict[str, list[dict[str, Any]]]:
    images, annotations = [], []
    for number, sample in enumerate(samples, 1):
        width, height = sizes[sample.image.image_id]
        images.append(
            {"id": number, "width": width, "height": height, "file_name": sample.sample_id}
        )
        for box in to_xywh(sample.boxes, width=width, height=height).tolist():
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": 1}
            annotations.append({**about, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": 1, "name": "phrase"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def export(
    runs: Runs, kind: str, out: Path, source: DatasetSource, *, private: bool = False
) -> list[Path]:
    """The files written for `kind`: "hf", "coco" or "parquet".

    Raises:
        BenchError: nothing to export, no data where the image sizes are needed, or `out` cannot
            be written.
    """
    records = finished(runs)
    if kind == "coco":
        records = [r for r in records if r.task == "grounding"]
    if not records:
        raise BenchError(f"nothing to export as {kind}: no finished cell of that kind.")
    if kind == "parquet":
        buffer = io.BytesIO()
        outcomes_frame(runs, private=private).to_parquet(buffer, index=False)
        write_bytes(out / "outcomes.parquet", buffer.getvalue())
        return [out / "outcomes.parquet"]
    files = _cards(records) if kind == "hf" else _coco(records, runs, source, private=private)
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]


def _cards(records: Sequence[RunRecord]) -> dict[str, str]:
    names = sorted({record.model.name for record in records if not record.model.control})
    return {
        f"{safe_name(name)}.model-index.yaml": model_index(
            [record for record in records if record.model.name == name]
        )
        for name in names
    }


def _coco(
    records: Sequence[RunRecord], runs: Runs, source: DatasetSource, *, private: bool
) -> dict[str, str]:
    files: dict[str, str] = {}
    stems = _stems(records)
    for record in records:
        dataset, reason = source(record)
        if dataset is None:
            raise BenchError(f"{record.dataset.name}: image sizes are needed: {reason}")
        files |= coco_files(record, dataset, runs, stems=stems[record.key], private=private)
    return files
