"""An ablation carried out: arms that are not finished are trained, then all are reported."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.ablation import (
    ArmRecord,
    arm_file,
    arm_key,
    is_finished,
    read_arms,
    refuse_other_arms,
    with_other_data_failed,
    write_arm,
)
from harness.ablation_suite import AblationSuite
from harness.atomic import write_json, write_text
from harness.datasets.table import dataset_spec
from harness.errors import BenchError, printable
from harness.executors import Executor, Kind, Order, spread
from harness.hidden import message_hidden
from harness.isolate import Ended
from harness.lock import RunLock
from harness.roots import data_roots

if TYPE_CHECKING:
    from lofi.ablate import Ablation, Arm
    from lofi.ablate_arm import ArmOrder

PLAN = "ablation.json"
# Beside records and outcomes, which are small and worth committing, lie weights, which are neither.
IGNORED = "training/\njobs/\n.lock\n"


@dataclass(frozen=True)
class Chosen:
    """How an ablation is to run; nothing here decides a number, except a budget its steps."""

    out: Path
    arms: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    device: str = "auto"
    executor: Kind = "local"
    workers: int = 0
    budget: str = ""
    report_only: bool = False
    quiet: bool = False
    log_json: bool = False

    def say(self, text: str) -> None:
        """A line of progress."""
        if self.log_json:
            click.echo(json.dumps({"message": text}), err=True)
        elif not self.quiet:
            click.echo(text, err=True)


def ablate(suite: AblationSuite, chosen: Chosen) -> None:
    """Train and measure what is missing, then write and print the report.

    Raises:
        BenchError: what is asked for makes no sense, or the folder holds arms of other settings.
        SystemExit: with 1, after the report, where an arm failed.
    """
    from lofi.ablate import pick, plan

    roots = data_roots(chosen.data)
    planned = pick(plan(suite, roots), chosen.arms)
    with message_hidden(f"ablate {suite.ablation}", private=_is_private(planned, roots)):
        if chosen.report_only:
            _arms(chosen.out)  # before anything is written
        if chosen.budget:
            planned = pick(plan(_within_budget(suite, planned, chosen), roots), chosen.arms)
        _carried_out(planned, chosen)


def _is_private(planned: "Ablation", roots: Mapping[str, Path]) -> bool:
    """Whether an arm is trained or measured on data under a use agreement."""
    suite = planned.suite
    names = {one.dataset for one in (*suite.evaluations, *suite.representation.evaluations)}
    names |= {arm.config.data.dataset for arm in planned.arms}
    return any(dataset_spec(name).is_private(roots) for name in names)


def _carried_out(planned: "Ablation", chosen: Chosen) -> None:
    # A report may be written while arms are trained; it reads whole files only.
    with nullcontext() if chosen.report_only else RunLock(chosen.out / ".lock"):
        write_text(chosen.out / ".gitignore", IGNORED)
        todo = _missing(planned, chosen.out)
        if not chosen.report_only:
            _write_plan(planned, chosen)
            _train(planned, todo, chosen)
        failed = _report(planned, chosen)
    if failed:
        raise SystemExit(1)


def _within_budget(suite: AblationSuite, planned: "Ablation", chosen: Chosen) -> AblationSuite:
    """The suite with as many steps as fit; those of an earlier call with the same budget."""
    from lofi.ablate_budget import measure, seconds_of, steps_within

    if suite.steps:
        raise BenchError("--budget and --steps: both say how long to train. Give one of them.")
    seconds = seconds_of(chosen.budget)
    stored = _stored_plan(chosen.out)
    if stored.get("budget") == chosen.budget:
        return suite.model_copy(update={"steps": stored["steps"]})
    if chosen.report_only:
        raise _other_budget(stored, chosen)
    chosen.say(f"timing the full arm for --budget {chosen.budget}")
    speed = measure(
        planned.arms[0], data_roots(chosen.data), limit=suite.limit, device=chosen.device
    )
    workers = 1 if chosen.executor == "local" else chosen.workers or len(planned.arms)
    steps = steps_within(seconds, speed, arms=len(planned.arms), at_a_time=workers)
    chosen.say(f"{speed.per_step:.2f} s a step: {steps} steps for each of {len(planned.arms)} arms")
    return suite.model_copy(update={"steps": steps})


def _other_budget(stored: Mapping[str, Any], chosen: Chosen) -> BenchError:
    """Why a report alone has no steps: it times nothing, and the folder is of another budget."""
    budget, steps = stored.get("budget"), stored.get("steps")
    instead = f"--budget {budget}" if budget else f"--steps {steps}" if steps else "its --steps"
    return BenchError(
        f"{chosen.out}: --budget {chosen.budget}: found arms of {budget or 'no budget'}. Expected "
        f"the folder's own, as --report-only times and trains nothing. Give {instead}."
    )


def _stored_plan(out: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads((out / PLAN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value


def _write_plan(planned: "Ablation", chosen: Chosen) -> None:
    steps = planned.arms[0].config.training.steps
    arms = {arm.name: {k: list(v) for k, v in arm.difference.items()} for arm in planned.arms}
    budget = chosen.budget or _stored_plan(chosen.out).get("budget", "")
    plan = {
        "ablation": planned.suite.ablation,
        "title": planned.suite.title,
        "steps": steps,
        "budget": budget,
        "seeds": planned.suite.seeds,
        "arms": {**_stored_plan(chosen.out).get("arms", {}), **arms},
        "shared": dict(planned.shared),
    }
    write_json(chosen.out / PLAN, plan)


def _missing(planned: "Ablation", out: Path) -> "list[Arm]":
    """The arms to be trained; those of other settings in the same folder are refused."""
    records = {(one.arm, one.seed): one for one in read_arms(out)}
    refuse_other_arms(records.values(), planned.shared, str(out))
    missing = []
    for arm in planned.arms:
        record = records.get((arm.name, arm.seed))
        if record and record.key != arm_key(planned.shared, arm.difference, arm.seed):
            raise BenchError(
                f"{arm_file(out, arm.name, arm.seed)}: an arm of this name differs from the full "
                f"one in {_said(record.difference)}, now in {_said(arm.difference)}. Give the "
                "change another name, or use another --out folder."
            )
        if record is None or not is_finished(out, record):
            missing.append(arm)
    return missing


def _said(difference: Any) -> str:
    return ", ".join(f"{key}={pair[1]}" for key, pair in difference.items()) or "nothing"


def _train(planned: "Ablation", todo: "Sequence[Arm]", chosen: Chosen) -> None:
    from lofi.ablate_arm import ArmOrder, run_arm

    total = len(planned.arms)
    chosen.say(f"{total} arms, {total - len(todo)} of them finished, into {chosen.out}")
    orders = [
        ArmOrder(
            arm=arm,
            name=planned.suite.ablation,
            shared=planned.shared,
            out=chosen.out,
            roots=data_roots(chosen.data),
            device=chosen.device,
            command=shlex.join(["bench", *sys.argv[1:]]),
        )
        for arm in todo
    ]

    def heard(index: int, text: Any) -> None:
        chosen.say(f"[{orders[index].arm.title}] {printable(str(text))}")

    # One arm, one process: its memory is its own, and what becomes of it is not the others' fate.
    workers = 1 if chosen.executor == "local" else chosen.workers
    kind: Kind = "processes" if chosen.executor == "local" else chosen.executor
    executor = Executor(kind, workers, folder=chosen.out / "jobs")
    private = _is_private(planned, data_roots(chosen.data))
    sent = [Order((order,), private) for order in orders]
    for number, (index, ended) in enumerate(spread(executor, run_arm, sent, heard), 1):
        status = _closed(orders[index], ended)
        chosen.say(f"{status}: {orders[index].arm.title} ({number} of {len(orders)})")


def _closed(order: "ArmOrder", ended: Ended) -> str:
    """The arm's status; a process that was lost leaves a record that says how."""
    if ended.status == "ok":
        return str(ended.value)
    write_arm(order.out, order.record(ended.status, ended.reason))
    return ended.status


def _arms(out: Path) -> list[ArmRecord]:
    records = read_arms(out)
    if not records:
        raise BenchError(
            f"{out}: found no arm yet, so there is nothing to report. Expected the --out folder of "
            "an ablation. Run without --report-only to train its arms."
        )
    return records


def _report(planned: "Ablation", chosen: Chosen) -> bool:
    """Whether an arm that was asked for failed; the report is written either way."""
    from reports.ablation import print_ablation, write_ablation
    from reports.runs import dataset_source

    names = {arm.name for arm in planned.arms}
    records = _arms(chosen.out)
    refuse_other_arms(records, planned.shared, str(chosen.out))
    records = with_other_data_failed(records, chosen.out)
    source = dataset_source(data_roots(chosen.data))
    found = write_ablation(chosen.out, records, source, title=planned.suite.title)
    if not chosen.quiet:
        print_ablation(found)
    click.echo(f"report: {chosen.out / 'ablation.md'} (and .csv, .tex, figures/)")
    failed = [one for one in records if one.status != "ok" and one.arm in names]
    for one in failed:
        click.echo(f"{one.status}: {one.title}: {one.reason}", err=True)
    return bool(failed)
