"""A task: what it needs of a model, how it asks, what it can measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from harness.box_tables import BoxTable
from harness.embedding_cache import EmbeddingCache
from harness.images import Image
from harness.metrics.bootstrap import Interval
from harness.metrics.metric import Metric
from harness.models import ModelCard, Query
from harness.ranks import ALONE, Ranks
from harness.record import Exposure, Score
from harness.samples import Dataset, ImageRef
from harness.suite_schema import Evaluation

if TYPE_CHECKING:  # pandas takes a second to import, which a finished suite need not pay
    import pandas as pd

Progress = Callable[[str, int, int], None]  # what, done, of


def _silent(*_: object) -> None:
    """Nobody is told."""


class OutcomeSink(Protocol):
    """Where outcomes go while they are computed; a cell of the store."""

    def append(
        self, kind: str, frame: "pd.DataFrame", keys: Sequence[str] = ("sample_id",)
    ) -> None:
        """Keep these rows; nothing already kept is lost whatever happens next."""

    def done_ids(self, kind: str) -> set[Any]:
        """Sample ids that need not be asked again."""

    def read(self, kind: str) -> "pd.DataFrame":
        """All rows kept so far, one per sample id."""


@dataclass(frozen=True)
class Asking:
    """Everything a task is given to ask one model about one dataset.

    `table` gives the training split's mean boxes, `calibration` a validation split of the source
    domain for thresholds, each None where there is none; `other` loads another dataset, its first
    so many images, for models that look up examples; `device` is theirs; `store_text` allows
    raw answers in the outcomes; `embeddings` is None where nothing is cached (controls); `ranks`
    are the processes that ask this cell together, each calling `ask`.
    """

    model: Any
    card: ModelCard
    dataset: Dataset
    sink: OutcomeSink
    options: Mapping[str, Any] = field(default_factory=dict)
    table: Callable[[], BoxTable | None] = lambda: None
    calibration: Callable[[], Dataset | None] = lambda: None
    other: Callable[[Evaluation, int | None], Dataset] | None = None
    device: str = "cpu"
    embeddings: Callable[[ModelCard, str], EmbeddingCache | None] | None = None
    text_policy: str = "official"
    seed: int = 0
    batch_size: int = 32
    store_text: bool = False
    progress: Progress = _silent
    ranks: Ranks = ALONE

    def query(self, image: ImageRef, phrase: str) -> Query:
        """The question about a phrase in an image."""
        return Query(Image(image.image_id, image.file), phrase)


@dataclass(frozen=True)
class Scored:
    """The scores of a cell, why a metric has none, and the mark of what was tuned for them."""

    scores: list[Score]
    not_scored: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    exposure: Exposure = "external"


@dataclass(frozen=True)
class Task:
    """A task by its functions.

    Args:
        name: as suites write it.
        version: raised when the same answers would give other outcomes.
        ask: fills the sink, returns counts for the record; raises `NotScorable` for a model that
            lacks the task's protocol, `NonFinite` for NaN or infinity.
        score: metrics and intervals from the dataset and the stored outcomes; no model needed.
        kinds: the outcome tables `ask` writes.
        metrics: what can be measured, by name.
        defaults: options of `ask` and `score` and their default values.
        choices: of an option that is a name or a list of names, the names it may hold.
    """

    name: str
    version: int
    ask: Callable[[Asking], dict[str, float]]
    score: Callable[[Dataset, OutcomeSink, Mapping[str, Any], Sequence[str]], Scored]
    kinds: tuple[str, ...]
    metrics: Mapping[str, Metric]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)


def as_score(metric: str, group: str, interval: Interval, **where: Any) -> Score:
    """The interval as a number of the record; `where` are further fields of `Score`."""
    return Score(
        metric=metric,
        group=group,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        patients=interval.patients,
        **where,
    )


class NonFinite(Exception):
    """A model gave NaN or infinity; the message names what and for which samples."""
