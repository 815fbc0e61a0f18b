"""Numbers published elsewhere: drawn apart, never ranked with measured rows."""

from collections.abc import Mapping
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict


class PublishedRow(BaseModel):
    """One model's numbers as its source prints them; text, so that no digit is added."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    values: Mapping[str, str]
    source: str
    confidence: str


class PublishedTable(BaseModel):
    """Rows of one protocol; `task` and `dataset` say which measured table they stand near."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    task: str
    dataset: str
    protocol: str
    metrics: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


def published_tables() -> tuple[PublishedTable, ...]:
    """The tables of published.yaml.

    Raises:
        ValueError: the file that ships with the package is not what this module reads.
    """
    text = files("reports").joinpath("published.yaml").read_text("utf-8")
    return tuple(PublishedTable.model_validate(entry) for entry in yaml.safe_load(text))
