"""The control of in-context grounding: what was drawn on the nearest example, drawn here again."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.models import Demonstration, Grounding, ModelCard, Query

COPY = "copy-nearest"


@dataclass(frozen=True)
class CopyNearest:
    """The control that reads no image: the boxes of the nearest example."""

    card: ModelCard
    nearest_first: bool = False

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """Nothing is shown, so nothing is found."""
        return [Grounding(status="empty") for _ in queries]

    def ground_with(
        self, queries: Sequence[Query], demonstrations: Sequence[Sequence[Demonstration]]
    ) -> list[Grounding]:
        """The boxes of each query's nearest example."""
        del queries
        place = 0 if self.nearest_first else -1
        return [
            Grounding(
                examples[place].boxes, demonstrations=tuple(e.image.image_id for e in examples)
            )
            if examples
            else Grounding(status="empty")
            for examples in demonstrations
        ]
