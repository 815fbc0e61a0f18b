"""The report of an ablation: ablation.md, .csv, .tex and figures at the top of its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.ablation import FULL, ArmRecord
from harness.atomic import write_bytes, write_text
from reports.ablation_pairs import Arms, all_worths
from reports.ablation_training import UNDER_TRAINED, Cost, Flatness, costs, flatness
from reports.ablation_worth import HEADLINES, Place, Worth
from reports.csv_text import csv_text
from reports.definitions import DIRECTIONS, TASKS, definition
from reports.paired import Question
from reports.runs import DatasetSource

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {"arm": "", "representation": "frozen encoder"}


@dataclass(frozen=True)
class Found:
    """All that a report of an ablation says; `arms` in order, the full one first."""

    title: str
    records: tuple[ArmRecord, ...]
    worths: tuple[Worth, ...]
    costs: tuple[Cost, ...]

    @property
    def arms(self) -> list[str]:
        """The arms that are compared with the full one."""
        return [a for a in dict.fromkeys(r.arm for r in self.records) if a != FULL]

    @property
    def phantom(self) -> bool:
        """Whether any number comes from synthetic data."""
        return any(one.place.phantom for one in self.worths)

    @property
    def curves(self) -> dict[str, Flatness]:
        """Whether each trained arm's validation curve is flat, by title."""
        return {r.title: flatness(r) for r in self.records if r.training is not None}

    @property
    def under_trained(self) -> bool:
        """Whether any arm still rises."""
        return not all(one.flat for one in self.curves.values())

    @property
    def failures(self) -> list[str]:
        """What failed and is in no difference, each once."""
        return list(dict.fromkeys(w.note for w in self.worths if w.status == "failed"))

    def headlines(self, share: int = 100) -> "list[Headline]":
        """The numbers of the overview, in the order of the evaluations."""
        places = dict.fromkeys(w.place for w in self.worths if w.place.share == share)
        return [
            Headline(place, direction, metric)
            for place in places
            for direction, metric in HEADLINES.get(place.task, ())
        ]

    def worth(self, arm: str, headline: "Headline") -> Worth | None:
        """What stands in the overview for an arm: what seeds that went well say, if any did."""
        return next((w for w in self.worths if w.arm == arm and headline.is_of(w)), None)


@dataclass(frozen=True)
class Headline:
    """One column of the overview."""

    place: Place
    direction: str
    metric: str

    def is_of(self, worth: Worth) -> bool:
        """Whether a row is this number over all samples."""
        named = (worth.place, worth.question.direction, worth.question.metric)
        return worth.group == "all" and named == (self.place, self.direction, self.metric)

    @property
    def label(self) -> str:
        """How columns and panels are headed."""
        shown = definition(self.metric).label
        where = f"{place_name(self.place)}: {DIRECTIONS[self.direction]} {shown}"
        return " ".join(where.split())


def place_name(place: Place) -> str:
    """Task and dataset, and whether the weights are the arm's own.

    >>> place_name(Place("representation", 100, "grounding", "ms-cxr", "test", "frontal", ""))
    'Phrase grounding ms-cxr, frozen encoder'
    """
    dataset = "" if place.dataset == place.task else f" {place.dataset}"
    name = f"{TASKS.get(place.task, place.task)}{dataset}"
    measure = MEASURES.get(place.measure, place.measure)
    return f"{name}, {measure}" if measure else name or "Nothing was asked"


def question_name(question: Question) -> str:
    """Direction and metric as tables print them."""
    direction = DIRECTIONS.get(question.direction, question.direction)
    return f"{direction} {definition(question.metric).label}".strip()


def write_ablation(
    out: Path, records: Sequence[ArmRecord], source: DatasetSource, *, title: str = ""
) -> Found:
    """What was found, after writing it: tables, figures, and samples drawn where they may be.

    Raises:
        BenchError: arms were asked other data, outcomes are gone, or `out` cannot be written.
    """
    from reports.ablation_figures import curves, forest
    from reports.ablation_latex import latex
    from reports.ablation_samples import sample_pictures
    from reports.ablation_text import markdown

    arms = Arms(out, records, source)
    found = Found(
        title=title or "What each loss is worth",
        records=tuple(records),
        worths=tuple(all_worths(arms)),
        costs=tuple(costs(records)),
    )
    names = []
    for name, drawn in (("forest", forest(found)), ("curves", curves(found))):
        for kind, data in drawn.items():
            write_bytes(out / "figures" / f"{name}.{kind}", data)
        names += [name] if drawn else []
    pictures = sample_pictures(found, arms, out / "figures")
    write_text(out / "ablation.md", markdown(found, figures=names, pictures=pictures))
    write_text(out / "ablation.tex", latex(found))
    write_text(out / "ablation.csv", csv_text(frame(found)))
    return found


def frame(found: Found) -> "pd.DataFrame":
    """The tidy table: a row per arm, place, key metric and group, and one per seed that failed."""
    import pandas as pd

    return pd.DataFrame([_row(one) for one in found.worths], columns=list(COLUMNS))


COLUMNS = (
    *("arm", "measure", "share", "task", "dataset", "phantom", "cohort", "split", "text_policy"),
    *("direction", "relevance", "group", "metric", "full", "without", "difference", "low", "high"),
    *("df", "seeds", "patients", "n", "seed_sd", "patient_sd", "detectable"),
    *("p_these_checkpoints", "p_holm", "status", "verdict", "note"),
)


def _row(one: Worth) -> dict[str, object]:
    place, question, interval = one.place, one.question, one.interval
    row: dict[str, object] = {name: getattr(place, name) for name in vars(place)}
    row |= {"arm": one.arm, "direction": question.direction, "relevance": question.relevance}
    row |= {"group": one.group, "metric": question.metric, "full": one.full}
    row |= {"without": one.without, "difference": one.difference}
    if interval is not None and interval.seeds > 1:
        row |= {"low": interval.low, "high": interval.high, "df": interval.df}
        row |= {"seed_sd": max(interval.seed_variance, 0.0) ** 0.5}
        row |= {"patient_sd": max(interval.patient_variance, 0.0) ** 0.5}
        row |= {"detectable": interval.detectable}
    row |= {"seeds": one.seeds, "patients": one.patients, "n": one.n}
    row |= {"p_these_checkpoints": one.p, "p_holm": one.adjusted}
    return row | {"status": one.status, "verdict": one.verdict, "note": one.note}


def print_ablation(found: Found) -> None:
    """The overview on the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from reports.ablation_text import overview_cell, under_trained_line

    console = Console()
    if found.under_trained:
        console.print(f"[bold]{UNDER_TRAINED}[/]: {escape(under_trained_line(found))}")
    table = Table(title=escape(found.title), title_justify="left", show_lines=False)
    for head in ("full minus", "difference [95 %]", "says"):
        table.add_column(head, justify="left" if head != "difference [95 %]" else "right")
    for headline in found.headlines():
        table.add_section()
        table.add_row(f"[bold]{escape(headline.label)}[/]", "", "")
        for arm in found.arms:
            worth = found.worth(arm, headline)
            said = "" if worth is None else worth.verdict
            table.add_row(f"  {escape(arm)}", escape(overview_cell(worth)), escape(said))
    console.print(table)
    for note in found.failures:
        console.print(f"Left out: {escape(note)}")
