"""What a model that looks up solved examples is given: where they are, and their embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.embedding_cache import EmbeddingCache, open_cache
from harness.made_up import MADE_UP, with_made_up_names
from harness.models import GroundingModel, ModelCard, Query
from harness.samples import Dataset, PhraseBoxes
from harness.suite_schema import Evaluation
from harness.tasks.embedding import Vectors, embed_images, embed_texts
from harness.tasks.task import Asking

if TYPE_CHECKING:
    from harness.registry import Handle


BANK = "cxr-qba"  # where examples come from unless something else is said,
FIRST = 2000  # and of how many images


def bank_evaluation(demonstrations: Mapping[str, Any], *, phantom: bool) -> Evaluation:
    """The samples that an in-context model's option `demonstrations` draws its examples from.

    Of CXR-QBA the boxes of lesions on phantoms, which alone have them, else those of regions.
    """
    dataset = demonstrations.get("dataset") or BANK
    cohort = demonstrations.get("cohort") or ""
    if dataset == BANK and not cohort:
        cohort = "lesion" if phantom else "region"
    split = demonstrations.get("split") or "train"
    return Evaluation(task="grounding", dataset=dataset, split=split, cohort=cohort)


@dataclass(frozen=True)
class Supply:
    """Banks and cached embeddings for one cell."""

    asking: Asking

    @property
    def device(self) -> str:
        """Where models are loaded."""
        return self.asking.device

    def bank(self, evaluation: Evaluation, limit: int | None) -> Dataset:
        """The grounding samples of another dataset or split, its first so many images.

        Findings have made-up names where those that are asked about have.

        Raises:
            WeightsAbsent: the dataset cannot be had here.
        """
        if self.asking.other is None:
            raise ValueError("nothing to look up examples in")
        dataset = self.asking.other(evaluation, limit)
        if self.asking.dataset.cohort == MADE_UP:
            return with_made_up_names(dataset)
        return dataset

    @property
    def phantom(self) -> bool:
        """Whether phantoms are asked about; their examples are phantoms, too."""
        return self.asking.dataset.phantom

    def embed_images(self, model: Any, images: Sequence[Any], handle: "Handle") -> Vectors:
        """One unit row per image, from the cache where it holds them."""
        return embed_images(self._of(model, handle), model, images)

    def embed_texts(self, model: Any, texts: Sequence[str], handle: "Handle") -> Vectors:
        """One unit row per text, from the cache where it holds them."""
        return embed_texts(self._of(model, handle), model, texts)

    def _of(self, model: Any, handle: "Handle") -> Asking:
        from harness.plan import model_options

        options = {"use": handle.entry.load, **model_options(handle, model.card)}
        cache = partial(_cache, options) if self.asking.embeddings else None
        return replace(
            self.asking, model=model, card=model.card, embeddings=cache, text_policy="official"
        )


def _cache(options: dict[str, Any], card: ModelCard, modality: str) -> EmbeddingCache | None:
    return open_cache(card, modality, options=options) if card.weights else None


def boxed(dataset: Dataset) -> list[PhraseBoxes]:
    """The samples that can be examples: phrases with at least one box."""
    return [s for s in dataset.samples if isinstance(s, PhraseBoxes) and len(s.boxes)]


@runtime_checkable
class BankedGrounder(GroundingModel, Protocol):
    """A grounding model that looks up solved examples, and is told beforehand what it is asked."""

    def equip(self, queries: Sequence[Query], supply: Supply) -> None:
        """Choose the examples of all queries.

        Raises:
            BenchError: there is nothing to choose from.
            WeightsAbsent: the bank or a model that is needed is not on this machine.
        """
