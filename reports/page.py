"""The report as one self-contained HTML page: no network, opens from a file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.record import RunRecord, cell_folder
from harness.store import safe_name
from reports.definitions import COUNT_TIPS, EXPOSURES
from reports.drawing import Picture
from reports.leaderboard import data_uri, template_environment
from reports.markdown import Ranks, column_title
from reports.published import PublishedTable
from reports.tables import Section
from reports.tidy import SectionKey
from reports.whiskers import lanes


@dataclass(frozen=True)
class Figure:
    """One drawing of a section: SVG text that the page trusts, a title and what it shows."""

    title: str
    svg: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Extras:
    """What a page may hold beside its tables; whatever is missing is left out.

    `notes` say, per table, why figures or ranks are missing.
    """

    ranks: Ranks = field(default_factory=dict)
    figures: Mapping[SectionKey, Sequence[Figure]] = field(default_factory=dict)
    pictures: Mapping[SectionKey, Sequence[Picture]] = field(default_factory=dict)
    published: Sequence[PublishedTable] = ()
    notes: Mapping[SectionKey, Sequence[str]] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)  # metric -> the harness's sentence


def render_page(
    sections: Sequence[Section], extras: Extras, *, title: str, private: bool = False
) -> str:
    """The whole page; private adds pictures of data under an agreement, and a stamp.

    What the run itself stored does not matter: a page is publishable unless asked not to be.
    """
    environment = template_environment()
    script = template_source("page.js")
    pictures = {
        section.key: [
            (data_uri(picture.image), picture.caption)
            for picture in extras.pictures.get(section.key, ())
        ]
        for section in sections
        if private or not section.agreement
    }
    return environment.get_template("page.html.j2").render(
        title=title,
        sections=sections,
        extras=extras,
        pictures=pictures,
        private=private,
        script=script,
        script_hash=script_hash(script),
        lanes=lanes,
        exposures=EXPOSURES,
        count_tips=COUNT_TIPS,
        column_title=column_title,
        cell_of=cell_of,
        anchors={section.key: f"t{index}" for index, section in enumerate(sections, 1)},
        models=len({r.model.name for s in sections for r in s.records if not r.model.control}),
        datasets=len({s.key.dataset for s in sections}),
    )


def cell_of(record: RunRecord) -> str:
    """The name of the record's folder below `cells/`."""
    data = record.dataset
    names = (safe_name(n) for n in (record.task, data.name, data.split, record.model.name))
    return cell_folder(*names, record.key)


def template_source(name: str) -> str:
    """The text of a file beside the templates, unrendered."""
    loader = template_environment().loader
    assert loader is not None  # set by template_environment
    return loader.get_source(template_environment(), name)[0]


def script_hash(script: str) -> str:
    """The hash by which a content security policy lets exactly this script run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
