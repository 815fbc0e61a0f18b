"""What a cell leaves behind: who was asked what, every score, and what is needed to do it again."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
KEY_DIGITS = 12  # of a cell's key in the name of its folder

Status = Literal["ok", "failed", "timeout", "out_of_memory", "skipped", "not_scored", "not_taught"]
Exposure = Literal["external", "internal", "contaminated", "unknown"]


class Strict(BaseModel):
    """A record part: unknown keys are errors, so that an old reader never drops a new field."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


class Score(Strict):
    """One number; value, low and high at full precision, never rounded before a report."""

    metric: str
    group: str = "all"
    direction: str = ""  # image_to_text | text_to_image
    relevance: str = ""  # instance | same_study | same_text | unique_text
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0  # queries or phrases
    patients: int = 0
    pool: int | None = None  # candidates


class ModelInfo(Strict):
    """The card as it was, and the reference by which the suite named the model."""

    name: str
    family: str
    weights: str = ""
    preprocessing: str = ""
    licence: str = ""
    source: str = ""
    trained_on: list[dict[str, str]] | None = None
    version: int = 1
    reference: dict[str, Any] = Field(default_factory=dict)
    control: bool = False


class DatasetInfo(Strict):
    """The dataset as it was asked."""

    name: str
    split: str
    cohort: str
    version: str = ""
    phantom: bool = False
    restricted: bool = False
    fingerprint: str = ""
    text_policy: str = ""  # version of the text normalization
    licence: str = ""
    n_total: int = 0
    n_used: int = 0
    patients: int = 0
    excluded: dict[str, int] = Field(default_factory=dict)


class Environment(Strict):
    """Where it ran; nothing here enters the key."""

    python: str = ""
    platform: str = ""
    device: str = "cpu"
    packages: dict[str, str] = Field(default_factory=dict)
    commit: str = ""
    dirty: bool = False
    threads: int = 0


class RunRecord(Strict):
    """One cell: a model on an evaluation. `key` is the SHA-256 of `identity`."""

    schema_version: int = SCHEMA_VERSION
    checksum: str = ""  # in a file: SHA-256 of its text with this left empty; in memory: empty
    key: str
    identity: dict[str, Any]
    suite: str
    task: str
    model: ModelInfo
    dataset: DatasetInfo
    options: dict[str, Any] = Field(default_factory=dict)
    text_policy: str = "official"  # official | chunk-mean
    seed: int = 0
    status: Status
    reason: str = ""
    exposure: Exposure = "unknown"
    scores: list[Score] = Field(default_factory=list)
    not_scored: dict[str, str] = Field(default_factory=dict)  # metric -> reason
    counts: dict[str, float] = Field(default_factory=dict)  # malformed, empty, tied (a share), ...
    seconds: dict[str, float] = Field(default_factory=dict)  # by phase
    outcomes: dict[str, str] = Field(default_factory=dict)  # file in outcomes/ -> SHA-256
    private: bool = False  # text or pixels are stored (--store-text)
    created: str = ""  # ISO 8601, UTC
    command: str = ""  # what reproduces the row
    environment: Environment = Field(default_factory=Environment)


def cell_folder(task: str, dataset: str, split: str, model: str, key: str) -> str:
    """The folder name of a cell below `cells/` (design: store)."""
    return f"{task}-{dataset}-{split}-{model}-{key[:KEY_DIGITS]}"
