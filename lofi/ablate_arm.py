"""One arm of an ablation: trained, asked at its shares of the steps, and written down."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from harness.ablation import (
    FULL,
    ArmRecord,
    ArmTraining,
    AskedCell,
    Measure,
    write_arm,
)
from harness.ablation_suite import MeasuredAt
from harness.atomic import write_text
from harness.data_access import DataAccess
from harness.environment import environment
from harness.errors import BenchError, printable
from harness.plan import plan_cells
from harness.record import RunRecord, Status
from harness.run import Settings, run_cells
from harness.store import safe_name
from harness.suite_schema import Evaluation, ModelReference, Suite
from lofi.ablate import Arm, shares_of, step_at
from lofi.ablate_memory import Memory
from lofi.fit import Fit, fit

Say = Callable[[str], None]
_SPENT = ("checkpoint", "checkpoint.old", "best")  # what a finished arm needs no more


@dataclass(frozen=True)
class ArmOrder:
    """All that a process of its own needs to train and measure one arm."""

    arm: Arm
    name: str  # of the ablation
    shared: Mapping[str, Any]
    out: Path
    roots: Mapping[str, Path] = field(default_factory=dict)
    device: str = "auto"
    command: str = ""

    @property
    def folder(self) -> Path:
        """Where the arm is trained; nothing in it is needed once the arm is finished."""
        return self.out / "training" / f"{safe_name(self.arm.name)}-seed{self.arm.seed}"

    @property
    def limit(self) -> int | None:
        """The first so many studies, in training and in every evaluation."""
        limit: int | None = self.shared["limit"]
        return limit

    def record(self, status: Status, reason: str = "") -> ArmRecord:
        """The arm's record as far as it is known before anything ran."""
        return ArmRecord(
            arm=self.arm.name,
            seed=self.arm.seed,
            parent="" if self.arm.name == FULL else FULL,
            difference=dict(self.arm.difference),
            shared=dict(self.shared),
            losses=list(self.arm.config.losses.active()),
            status=status,
            reason=printable(reason),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=self.command,
            environment=environment(self.device),
        )


def run_arm(tell: Callable[[Any], None], order: ArmOrder) -> str:
    """Train and measure an arm, going on where it stopped; its status, its record written.

    A loss that is not finite, or data that cannot be had, are a record that says so.
    """

    def say(text: str) -> None:
        tell(text)

    try:
        record = _measured(order, say)
    except BenchError as error:
        record = order.record("failed", str(error))
    write_arm(order.out, record)
    return record.status


def _measured(order: ArmOrder, say: Say) -> ArmRecord:
    clock = [time.perf_counter()]
    training = _trained(order, say)
    clock.append(time.perf_counter())
    asked = _asked_at_shares(order, say)
    clock.append(time.perf_counter())
    if order.shared["representation"]:
        asked += _representation(order, say)
    clock.append(time.perf_counter())
    phases = zip(("train", "ask", "representation"), clock, clock[1:], strict=False)
    failed = [one for one in asked if one.status in ("failed", "timeout", "out_of_memory")]
    reason = "; ".join(dict.fromkeys(f"{one.task} {one.dataset}: {one.reason}" for one in failed))
    if not failed:  # else the same command asks these weights again
        _tidy(order.folder)
    return order.record("failed" if failed else "ok", reason).model_copy(
        update={
            "training": training,
            "asked": asked,
            "seconds": {phase: end - start for phase, start, end in phases},
        }
    )


def _trained(order: ArmOrder, say: Say) -> ArmTraining:
    steps = order.arm.config.training.steps
    memory = Memory(order.folder)
    shares = shares_of([MeasuredAt.model_validate(one) for one in order.shared["evaluations"]])
    progress = fit(
        Fit(
            preset=_written(order.arm.config.model_dump(mode="json"), order.folder),
            folder=order.folder,
            roots=order.roots,
            limit=order.limit,
            device=order.device,
            keep=tuple(step_at(share, steps) for share in shares if share < 100),
        ),
        say=memory.watching(say),
    )
    record = json.loads((order.folder / "model" / "training.json").read_text("utf-8"))
    return ArmTraining(
        steps=progress.step,
        samples=record["samples"],
        parameters=record["parameters"],
        data=record["data"],
        curve=_curve(order.folder / "log.jsonl"),
        validation=progress.history,
        seconds=progress.seconds,
        step_seconds=progress.step_seconds,
        step_processor=progress.step_processor,
        peak_memory=memory.peak(),
        memory=memory.kind(sessions=len(progress.sessions)),
        sessions=len(progress.sessions),
    )


def _written(settings: Mapping[str, Any], folder: Path) -> str:
    """The settings as a preset file in the arm's folder."""
    write_text(folder / "settings.yaml", yaml.safe_dump(dict(settings)))
    return str(folder / "settings.yaml")


def _curve(log: Path) -> list[dict[str, float]]:
    """The training losses, one entry per logged step; of a repeated step the last."""
    rows: dict[int, dict[str, float]] = {}
    for line in log.read_text("utf-8").splitlines():
        row = json.loads(line)
        if "step" in row:
            losses = {key: value for key, value in row.items() if key.startswith("loss/")}
            rows[row["step"]] = {"step": row["step"], **losses}
    return [rows[step] for step in sorted(rows)]


def _asked_at_shares(order: ArmOrder, say: Say) -> list[AskedCell]:
    wanted = [MeasuredAt.model_validate(one) for one in order.shared["evaluations"]]
    steps = order.arm.config.training.steps
    out: list[AskedCell] = []
    for share in shares_of(wanted):
        name = "model" if share == 100 else f"step-{step_at(share, steps)}"
        chosen = [one for one in wanted if share in one.at]
        if chosen:
            say(f"asking at {share} % of the steps")
            out += _ask(order, order.folder / name, chosen, (share, "arm"))
    return out


def _ask(
    order: ArmOrder,
    weights: Path,
    evaluations: Sequence[Evaluation],
    what: tuple[int, Measure],
) -> list[AskedCell]:
    """One cell per evaluation, through the harness's own runner."""
    if not (weights / "config.json").is_file():
        raise BenchError(
            f"{weights}: the weights of {order.arm.title} are gone before they were measured. "
            f"Remove {order.folder} and run the same command: the arm is trained again."
        )
    share, measure = what
    name = f"{order.arm.name}-seed{order.arm.seed}-{share}" + ("-rep" * (measure != "arm"))
    plain = [Evaluation(**_fields(one)) for one in evaluations]
    reference = ModelReference(
        name=name, use=f"./{weights}" if "/" not in str(weights) else str(weights)
    )
    cells = plan_cells(Suite(suite=order.name, models=[reference], evaluations=plain))
    limited = "" if order.limit is None else f" --limit {order.limit}"
    settings = Settings(
        out=order.out,
        suite=order.name,
        device=order.device,
        batch_size=64,
        command=order.command + limited,
        cache_embeddings=False,  # no other row will ever ask these weights
    )
    ran = run_cells(cells, DataAccess(order.roots, order.limit), settings)
    return [_asked(record, share, measure) for record, _ in ran]


def _fields(one: Evaluation) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Evaluation.model_fields}


def _asked(record: RunRecord, share: int, measure: Measure) -> AskedCell:
    data = record.dataset
    return AskedCell(
        share=share,
        measure=measure,
        model=record.model.name,
        task=record.task,
        dataset=data.name,
        split=data.split,
        cohort=data.cohort,
        text_policy=record.text_policy,
        status=record.status,
        reason=record.reason,
        key=record.key,
    )


def _representation(order: ArmOrder, say: Say) -> list[AskedCell]:
    """The same small decoder on the arm's frozen image encoder, asked where things are."""
    wanted = order.shared["representation"]
    folder = order.folder / "representation"
    source = order.folder / "model"
    settings = {
        "towers.pretrained": str(source),
        **wanted["set"],
        "training.seed": order.arm.seed,
    }
    say("training the decoder of the representation measure on the frozen encoder")
    fit(
        Fit(
            preset="representation",
            folder=folder,
            overrides=settings,
            roots=order.roots,
            limit=order.limit,
            device=order.device,
        ),
        say=say,
    )
    asked = [Evaluation.model_validate(one) for one in wanted["evaluations"]]
    return _ask(order, folder / "model", asked, (100, "representation"))


def _tidy(folder: Path) -> None:
    """Keep the last weights of the arm and of its decoder; the rest has been measured."""
    for place in (folder, folder / "representation"):
        for name in (*_SPENT, *(kept.name for kept in place.glob("step-*"))):
            shutil.rmtree(place / name, ignore_errors=True)
