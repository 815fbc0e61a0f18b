"""`bench check`: does a model keep the promises of its protocols? A verdict and a hint for each.

Promises are about the adapter, not about what the model knows: random weights keep them all. Three
hooks that an adapter may have are asked too:

- ``sees(image) -> (pixels (h, w), Frame)``: what reaches the model, before normalization, in any
  resolution, and the frame that its boxes and maps speak of;
- ``counts_in(image) -> (width, height) | None``: of a model that answers in pixels, the size of the
  input they are counted in;
- ``round_trip(image, boxes) -> boxes``: boxes of the film written as the model's answer and read
  back.
"""

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.check_embedding import EMBEDDING, PAIRS
from harness.check_films import write_films, write_marked
from harness.check_grounding import GROUNDING
from harness.models import EmbeddingModel, GroundingModel, ModelCard, NotScorable, PairScorer
from harness.promise import Broken, NotAsked, Promise, Subject

Outcome = Literal["kept", "broken", "not asked", "measured"]  # the last is no promise


@dataclass(frozen=True)
class Verdict:
    """What came of one promise; `hint` is the likely mistake of a broken one."""

    promise: str
    outcome: Outcome
    detail: str = ""
    hint: str = ""


def check_model(model: Any, folder: Path) -> Iterator[Verdict]:
    """The verdict of each promise in turn; films are written into `folder`.

    A promise that raises is broken, and the others are still looked at.
    """
    subject = Subject(model, write_films(folder), write_marked(folder))
    started, before = time.perf_counter(), _peak()
    for promise in _promises(model):
        yield _verdict(promise, subject)
    grown = (_peak() - before) / 2**20
    seconds = time.perf_counter() - started
    # No limit: the largest models take minutes on a CPU and are right all the same.
    spent = f"{grown:.0f} MiB more at its peak, {seconds:.1f} s"
    yield Verdict("memory and time", "measured", spent)


def _promises(model: Any) -> list[Promise]:
    found = [Promise("card", _card)]
    if isinstance(model, EmbeddingModel):
        found += EMBEDDING
    if isinstance(model, PairScorer):
        found += PAIRS
    if isinstance(model, GroundingModel):
        found += GROUNDING
    if len(found) == 1:
        found.append(Promise("protocol", _no_protocol))
    return list({promise.name: promise for promise in found}.values())


def _verdict(promise: Promise, subject: Subject) -> Verdict:
    try:
        return Verdict(promise.name, "kept", promise.look(subject) or "")
    except (NotAsked, NotScorable) as reason:
        return Verdict(promise.name, "not asked", str(reason))
    except Broken as broken:
        return Verdict(promise.name, "broken", str(broken), broken.hint)
    except Exception as error:  # whatever an adapter raises is its verdict
        return Verdict(promise.name, "broken", f"{type(error).__name__}: {error}")


def _card(subject: Subject) -> str:
    card = getattr(subject.model, "card", None)
    if not isinstance(card, ModelCard):
        raise Broken(f"card is {type(card).__name__}", "give it a harness.models.ModelCard")
    missing = [name for name in ("name", "family", "preprocessing") if not getattr(card, name)]
    if missing:
        raise Broken(f"card without {', '.join(missing)}", "rows and caches are named by them")
    if not card.weights:
        return "no weights on the card: embeddings will not be cached"
    return "" if card.trained_on is not None else "training data undisclosed: exposure unknown"


def _no_protocol(subject: Subject) -> str:
    public = [name for name in dir(subject.model) if not name.startswith("_")]
    raise Broken(
        f"{type(subject.model).__name__} has {', '.join(public) or 'no public method'}",
        "a model embeds (prepare_image, embed_images, embed_texts), scores pairs (prepare_image, "
        "score) or grounds (ground)",
    )


def _peak() -> int:
    """Bytes this process has held at its peak."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
