"""A runs folder as report.html, report.md, report.csv and report.tex."""

from collections.abc import Sequence
from pathlib import Path

from harness.atomic import write_text
from harness.tasks import TASKS, find_task
from reports.csv_text import csv_text
from reports.latex import latex
from reports.markdown import markdown
from reports.page import Extras, render_page
from reports.published import published_tables
from reports.runs import DatasetSource, Runs
from reports.samples import sample_pictures
from reports.tables import Section, sections
from reports.tidy import leaderboard_frame


def write_report(
    runs: Runs,
    out: Path,
    *,
    source: DatasetSource | None = None,
    title: str = "",
    private: bool = False,
) -> list[Path]:
    """The four files, each written whole; `source` None leaves out ranks, figures and samples.

    Where a model was shown retrieved examples there are two more: what the examples add.

    Raises:
        BenchError: `out` cannot be written.
    """
    found = sections(runs.records)
    extras = _extras(found, runs, source, private=private)
    suites = sorted({record.suite for record in runs.records} - {""})
    heading = title or f"Leaderboard: {', '.join(suites)}".rstrip(": ")
    texts = {
        "report.html": render_page(found, extras, title=heading, private=private),
        "report.md": markdown(found, ranks=extras.ranks),
        "report.csv": csv_text(leaderboard_frame(runs.records)),
        "report.tex": latex(found, ranks=extras.ranks),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    files = [out / name for name in texts]
    if source is not None:
        from reports.in_context_numbers import write_in_context

        files += write_in_context(runs, out, source)
    return files


def _extras(
    found: Sequence[Section], runs: Runs, source: DatasetSource | None, *, private: bool
) -> Extras:
    extras = Extras(published=published_tables(), definitions=_definitions(found))
    if source is None:
        return extras
    from reports.evidence import figures_of, ranks_of  # seaborn takes seconds to import

    ranks, notes, figures, pictures = {}, {}, {}, {}
    for section in found:
        ranges, note = ranks_of(section, runs, source)
        ranks |= ranges
        notes[section.key] = [note] * bool(note)
        figures[section.key] = figures_of(section, runs, source)
        if private or not section.agreement:
            pictures[section.key] = sample_pictures(section, runs, source)
    return Extras(
        ranks=ranks,
        figures=figures,
        pictures=pictures,
        published=extras.published,
        notes=notes,
        definitions=extras.definitions,
    )


def _definitions(found: Sequence[Section]) -> dict[str, str]:
    """What each metric means, in the words of the code that computes it."""
    texts: dict[str, str] = {}
    for task in sorted({s.key.task for s in found} & set(TASKS)):
        texts |= {name: metric.definition for name, metric in find_task(task).metrics.items()}
    return texts
