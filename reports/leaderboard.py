"""The leaderboard a run leaves behind: leaderboard.csv, leaderboard.md and leaderboard.html."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image as PilImage

from harness.atomic import write_text
from harness.record import RunRecord
from reports.csv_text import csv_text
from reports.definitions import DIRECTIONS, PHANTOM_SENTENCE, TASKS, definition
from reports.drawing import Picture
from reports.markdown import (
    ROLE_TITLES,
    Ranks,
    absence,
    count_names,
    count_text,
    counts_line,
    markdown,
    number,
    panel_title,
    primary_score,
    publishable,
)
from reports.screen import print_leaderboard
from reports.tables import Section, primary_column, sections
from reports.tidy import leaderboard_frame

__all__ = ["Picture", "leaderboard_frame", "print_leaderboard", "write_leaderboard"]

PICTURES = 12  # per table
SampleSource = Callable[[Section], Sequence[Picture]]


def write_leaderboard(
    records: Iterable[RunRecord],
    out: Path,
    *,
    samples: SampleSource | None = None,
    ranks: Ranks | None = None,
) -> list[Path]:
    """The three files written to `out`, each whole or not at all.

    `samples` gives the drawn samples of one table; it is not even asked for a table whose data are
    restricted, unless its records are private.

    Raises:
        BenchError: `out` cannot be written.
    """
    kept = list(records)
    found = sections(kept)
    pages = {
        "leaderboard.csv": csv_text(leaderboard_frame(kept)),
        "leaderboard.md": markdown(found, ranks=ranks),
        "leaderboard.html": plain_html(found, samples=samples, ranks=ranks),
    }
    for name, text in pages.items():
        write_text(out / name, text)
    return [out / name for name in pages]


def plain_html(
    found: Sequence[Section], *, samples: SampleSource | None = None, ranks: Ranks | None = None
) -> str:
    """The leaderboard as one HTML page without a script; every name and reason is escaped."""
    environment = template_environment()
    pictures = {section.key: _pictures(section, samples) for section in found}
    return environment.get_template("leaderboard.html.j2").render(
        sections=found, pictures=pictures, ranks=ranks or {}, private=any(s.private for s in found)
    )


def template_environment() -> Environment:
    """Templates of this package, escaping on, an undefined name an error."""
    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        absence=absence,
        count_names=count_names,
        count_text=count_text,
        counts_line=counts_line,
        definition=definition,
        directions=DIRECTIONS,
        number=number,
        panel_title=panel_title,
        phantom_sentence=PHANTOM_SENTENCE,
        primary_column=primary_column,
        primary_score=primary_score,
        publishable=publishable,
        role_titles=ROLE_TITLES,
        tasks=TASKS,
    )
    return environment


def _pictures(section: Section, samples: SampleSource | None) -> list[tuple[str, str]]:
    """Data URI and caption of each picture, none where they may not leave the machine."""
    if samples is None or section.restricted:
        return []
    return [(data_uri(p.image), p.caption) for p in list(samples(section))[:PICTURES]]


def data_uri(image: PilImage.Image) -> str:
    """The picture as a JPEG data URI, so that a page needs no second file."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
