"""A record before it is asked, after it failed, and the parts that describe model and data."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from harness.environment import environment
from harness.errors import BenchError, printable
from harness.exposure import exposure, worst
from harness.hidden import place_of
from harness.identity import key_of
from harness.models import ModelCard
from harness.plan import CellPlan
from harness.record import DatasetInfo, ModelInfo, RunRecord, Status
from harness.samples import Dataset
from harness.tasks.task import NonFinite, Scored


def skipped_record(plan: CellPlan, dataset: Dataset | None, reason: str, suite: str) -> RunRecord:
    """The record of a cell that was not asked, and why."""
    card = ModelCard(plan.handle.reference.name, family=plan.handle.entry.kind, trained_on=None)
    record = blank_record(plan, card, dataset, suite)
    return record.model_copy(update={"status": "skipped", "reason": reason})


def blank_record(plan: CellPlan, card: ModelCard, dataset: Dataset | None, suite: str) -> RunRecord:
    """The record of a cell about to be asked; its status is "failed" until something is known."""
    evaluation = plan.evaluation
    if dataset is None:
        info = DatasetInfo(
            name=evaluation.dataset, split=evaluation.split, cohort=evaluation.cohort
        )
        identity: dict[str, Any] = {"skipped": evaluation.model_dump(mode="json")}
        identity["use"] = plan.handle.reference.target
    else:
        info = dataset_info(dataset)
        identity = plan.identity(card, dataset)
    return RunRecord(
        key=key_of(identity),
        identity=identity,
        suite=suite,
        task=evaluation.task,
        model=model_info(card, plan),
        dataset=info,
        options={**plan.options, **({"metrics": evaluation.metrics} if evaluation.metrics else {})},
        text_policy=plan.text_policy,
        seed=plan.seed,
        status="failed",
        exposure="unknown" if dataset is None else exposure(card, dataset),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        environment=environment("cpu"),
    )


def dataset_info(dataset: Dataset) -> DatasetInfo:
    """The dataset's part of a record."""
    return DatasetInfo(
        name=dataset.name,
        split=dataset.split,
        cohort=dataset.cohort,
        version=dataset.version,
        phantom=dataset.phantom,
        restricted=dataset.restricted and not dataset.phantom,
        fingerprint=dataset.fingerprint(),
        text_policy=dataset.text_policy,
        licence=dataset.licence,
        n_total=dataset.n_total,
        n_used=dataset.n_used,
        patients=len({sample.image.patient_id for sample in dataset.samples}),
        excluded=dict(dataset.excluded),
    )


def model_info(card: ModelCard, plan: CellPlan) -> ModelInfo:
    """The card's part of a record."""
    seen = card.trained_on
    return ModelInfo(
        name=plan.handle.reference.name,
        family=card.family,
        weights=card.weights,
        preprocessing=card.preprocessing,
        licence=card.licence,
        source=card.source,
        trained_on=None if seen is None else [vars(item) for item in seen],
        version=card.version,
        reference=plan.handle.reference.model_dump(mode="json"),
        control=plan.handle.entry.kind == "control",
    )


def with_scores(record: RunRecord, scored: Scored) -> RunRecord:
    """The record with these scores in place of its own, status ok."""
    update = {"scores": scored.scores, "not_scored": dict(scored.not_scored), "status": "ok"}
    update["exposure"] = worst([record.exposure, scored.exposure])
    return record.model_copy(update=update)


def only_metrics(record: RunRecord, wanted: Sequence[str]) -> RunRecord:
    """The record as a leaderboard shows it: with these metrics alone, if any are named."""
    if not wanted:
        return record
    scores = [score for score in record.scores if score.metric in wanted]
    reasons = {name: why for name, why in record.not_scored.items() if name in wanted}
    return record.model_copy(update={"scores": scores, "not_scored": reasons})


def failed_record(blank: RunRecord, error: Exception, dataset: Dataset) -> RunRecord:
    """The record of a cell that raised."""
    status: Status = "failed"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        status = "out_of_memory"
    if isinstance(error, TimeoutError):
        status = "timeout"
    return blank.model_copy(update={"status": status, "reason": printable(_why(error, dataset))})


def _why(error: Exception, dataset: Dataset) -> str:
    """Type, message and place; of restricted data no message, which could quote a report."""
    name = "non-finite" if isinstance(error, NonFinite) else type(error).__name__
    place = place_of(error)
    ours = isinstance(error, (NonFinite, BenchError))
    if dataset.restricted and not dataset.phantom and not ours:
        return f"{name}{place}"
    return f"{name}: {error}{'' if ours else place}"
