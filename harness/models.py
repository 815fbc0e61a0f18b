"""What is asked of a model: the protocols an adapter fulfils, and its card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from harness.box_tables import BoxTable
from harness.boxes import Boxes, no_boxes
from harness.images import Image
from harness.samples import ImageText, PhraseBoxes, ProbeChoice

Status = Literal["ok", "empty", "malformed"]


@dataclass(frozen=True)
class TrainedOn:
    """One data source a model has seen: `modality` is "images", "reports" or "boxes"."""

    dataset: str
    split: str = "train"
    modality: str = "images"


@dataclass(frozen=True)
class ModelCard:
    """Who a model is: what its row in a leaderboard says and what its cache key holds.

    `trained_on` is None when undisclosed (exposure `unknown`). `weights` is the SHA-256 or the
    pinned revision; `preprocessing` names image geometry and text rules with their version.
    """

    name: str
    family: str
    weights: str = ""
    preprocessing: str = ""
    licence: str = ""
    trained_on: tuple[TrainedOn, ...] | None = ()
    source: str = ""
    max_tokens: int | None = None
    version: int = 1  # of the adapter: raise it when its numbers change


@dataclass(frozen=True)
class Query:
    """One phrase to be located in one image.

    `patient_id` is whose image it is and `finding` the class of the phrase, "" where unknown: a
    model that looks up examples must not look at that patient's.
    """

    image: Image
    phrase: str
    patient_id: str = ""
    finding: str = ""


@dataclass(frozen=True)
class Grounding:
    """A model's answer to a `Query`; boxes and heat map on the original image.

    `status`: "ok" boxes were given, "empty" an explicit, parsed "none", "malformed" an answer that
    could not be read (wrong on every phrase, and counted). `scores` has one value per box.
    `heatmap` is (h, w) over the original image, NaN where the model did not look. `tokens` is how
    many a generative model wrote, its end mark included; 0 where nothing is generated.
    `demonstrations` are the ids of the examples shown, nearest last, `similarities` how near each
    was to the query, and `left_out` counts those for which the context had no room.
    """

    boxes: Boxes = field(default_factory=no_boxes)
    scores: Float32[np.ndarray, " _"] | None = None
    heatmap: Float32[np.ndarray, "_ _"] | None = None
    raw: str = ""
    status: Status = "ok"
    demonstrations: tuple[str, ...] = ()
    tokens: int = 0
    similarities: tuple[float, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Demonstration:
    """A solved example for an in-context grounder; boxes in fractions of that image."""

    image: Image
    phrase: str
    boxes: Boxes


@runtime_checkable
class EmbeddingModel(Protocol):
    """A model with one unit vector per image and per text."""

    card: ModelCard

    def prepare_image(self, image: Image) -> Any:
        """What `embed_images` takes; pure, run ahead in threads."""

    def embed_images(self, prepared: Sequence[Any]) -> Float[np.ndarray, "n d"]:
        """Unit rows."""

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Unit rows."""


@runtime_checkable
class TokenCounter(Protocol):
    """A model that says how long a text is for it; asked for chunks and for what is cut."""

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens per text, special tokens included, before any truncation."""


@runtime_checkable
class PairScorer(Protocol):
    """A model that scores pairs and has no single vector per image."""

    card: ModelCard

    def prepare_image(self, image: Image) -> Any:
        """What `score` takes; pure, run ahead in threads."""

    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Float[np.ndarray, "n m"]:
        """Similarity, higher is closer.

        All texts of a pool come at once, the same ones with each batch of images: the model splits
        them as its memory wants, and may keep what it made of them.
        """


@runtime_checkable
class GroundingModel(Protocol):
    """A model that locates phrases."""

    card: ModelCard

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query, in order; batched across images."""


@runtime_checkable
class InContextGrounder(GroundingModel, Protocol):
    """A grounding model that can be shown solved examples first."""

    def ground_with(
        self, queries: Sequence[Query], demonstrations: Sequence[Sequence[Demonstration]]
    ) -> list[Grounding]:
        """One answer per query after its demonstrations, most similar last."""


@runtime_checkable
class Captioner(Protocol):
    """A model that writes reports and describes boxes."""

    card: ModelCard

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One report per image."""

    def describe(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> list[str]:
        """One phrase per image for the boxes given."""


@runtime_checkable
class TruthGrounder(Protocol):
    """A control that may look at the truth of each sample."""

    card: ModelCard

    def ground_samples(
        self, samples: Sequence[PhraseBoxes], table: Callable[[], BoxTable | None]
    ) -> list[Grounding]:
        """One answer per sample of the whole evaluation.

        `table` gives the training split's mean boxes, None where there is no train split.

        Raises:
            NotScorable: the dataset lacks what the control stands for (a second reader, say).
        """


@runtime_checkable
class TruthCaptioner(Protocol):
    """A control that may look at the true texts of the whole evaluation."""

    card: ModelCard

    def caption_samples(self, samples: Sequence[ImageText]) -> list[str]:
        """One report per image."""

    def describe_samples(self, samples: Sequence[PhraseBoxes]) -> list[str]:
        """One phrase per sample, for its boxes."""


@runtime_checkable
class PoolScorer(Protocol):
    """A control that scores pairs from the truth itself, not from pixels or words.

    `tells_texts_apart` is True where two texts of one wording may score differently with an image,
    which no model that reads them can do.
    """

    card: ModelCard
    tells_texts_apart: bool

    def score_pool(
        self, samples: Sequence[ImageText]
    ) -> Callable[[slice, slice], Float32[np.ndarray, "n m"]]:
        """A function of a slice of images and a slice of asked texts to their similarities.

        Images are `samples` in order, texts those of the asked samples in order.

        Raises:
            NotScorable: the dataset lacks what the control stands for.
        """


@runtime_checkable
class TruthChooser(Protocol):
    """A control that may look at both sides of a probe."""

    card: ModelCard

    def choose(
        self, samples: Sequence[ProbeChoice]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The scores of the true texts and of the foils."""


class NotScorable(Exception):
    """A model and a dataset that do not go together; the message is the reason in the row."""


@dataclass(frozen=True)
class Shuffled:
    """Any model asked about a different patient's image of the same view (protocol, section 3).

    The task swaps the images; `model` answers as always. `seed` decides the pairing.
    """

    model: Any
    card: ModelCard
    seed: int = 0


@dataclass(frozen=True)
class AnalyticChance:
    """The row of chance: computed from the pool, nothing is asked."""

    card: ModelCard
