"""`bench check`: more ways to be wrong, each named by the promise it breaks."""

from dataclasses import replace

import numpy as np
import pytest

from harness.geometry import read_geometry
from harness.models import Grounding, NotScorable
from tests.harness.test_check import CARD, Embedder, Grounder, broken, verdicts


class Lists(Embedder):
    def embed_texts(self, texts):
        return super().embed_texts(texts).tolist()


class Writes(Embedder):
    def prepare_image(self, image):
        prepared = super().prepare_image(image)
        with image.file.open("ab") as file:
            file.write(b"\0")
        return prepared


class Counting(Embedder):
    """Prepares every film a little otherwise than the one before."""

    asked = 0

    def prepare_image(self, image):
        type(self).asked += 1
        return super().prepare_image(image) + self.asked


class OneCount(Embedder):
    def count_tokens(self, texts):
        return super().count_tokens(texts)[:1]


class CountsTheSame(Embedder):
    def count_tokens(self, texts):
        return [5 for _ in texts]


@pytest.mark.parametrize(
    ("model", "promise", "hint"),
    [
        (Lists(), "shapes", "embed_texts gave list | give a numpy array"),
        (Writes(), "preparation is pure", "prepare_image changed the file"),
        (Counting(), "preparation is pure", "one film is not always the same | no shared state"),
        (OneCount(), "tokens are counted", "one whole number per text"),
        (CountsTheSame(), "tokens are counted", "a long text has 5 tokens, one word 5"),
        (
            Embedder(card=replace(CARD, max_tokens=None)),
            "tokens are counted",
            "card.max_tokens is not set",
        ),
        (Embedder(card=replace(CARD, family="")), "card", "card without family"),
        (
            Embedder(geometry="longest 16, pad 16 corner"),
            "pixels in the declared frame",
            "is not what is done",
        ),
    ],
)
def test_a_wrong_embedding_adapter_is_told_which_promise(model, promise, hint, tmp_path):
    assert hint in broken(model, tmp_path)[promise]


def test_exchanged_rows_and_columns_are_told_from_a_squash(tmp_path):
    class Turned(Embedder):
        def sees(self, image):
            pixels, frame = super().sees(image)
            return pixels.T, frame

    assert (
        "rows and columns are exchanged"
        in broken(Turned(), tmp_path)["pixels in the declared frame"]
    )


def test_without_weights_the_cache_is_off_and_the_check_says_so(tmp_path):
    card = verdicts(Embedder(card=replace(CARD, weights="")), tmp_path)["card"]
    assert card[0] == "kept"
    assert "will not be cached" in card[1]


class Scorer:
    """A right pair scorer: the cosines of an `Embedder`."""

    card = CARD

    def __init__(self):
        self.inner = Embedder()

    def prepare_image(self, image):
        return self.inner.prepare_image(image)

    def score(self, images, texts):
        return self.inner.embed_images(images) @ self.inner.embed_texts(texts).T


class TextsFirst(Scorer):
    def score(self, images, texts):
        return super().score(images, texts).T


class Infinite(Scorer):
    def score(self, images, texts):
        return super().score(images, texts) / 0.0


class Softmaxed(Scorer):
    """A score that depends on which other texts are asked."""

    def score(self, images, texts):
        odds = np.exp(super().score(images, texts))
        return odds / odds.sum(axis=1, keepdims=True)


class InOwnOrder(Scorer):
    def score(self, images, texts):
        order = np.argsort([int(image.sum()) for image in images])
        return super().score([images[place] for place in order], texts)


def test_a_right_pair_scorer_keeps_every_promise(tmp_path):
    assert broken(Scorer(), tmp_path) == {}
    assert verdicts(Scorer(), tmp_path)["pair scores"][0] == "kept"


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (TextsFirst(), "rows are images, columns texts"),
        (Infinite(), "a score is NaN or infinite"),
        (Softmaxed(), "a pair alone scores otherwise than in a block"),
        (InOwnOrder(), "scores otherwise"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_wrong_pair_scorer_breaks_a_promise_of_pairs(model, hint, tmp_path):
    assert any(hint in said for said in broken(model, tmp_path).values())


class OtherStatus(Grounder):
    def answer(self, _):
        return Grounding(status="none")


class FlatBoxes(Grounder):
    def boxes(self, query):
        return super().boxes(query)[0]


class Overflow(Grounder):
    def boxes(self, query):
        return super().boxes(query) * np.float32([1, 1, np.inf, 1])


class OneScore(Grounder):
    def answer(self, query):
        twice = np.concatenate([self.boxes(query)] * 2)
        return Grounding(boxes=twice, scores=np.float32([0.5]))


class NanMap(Grounder):
    def map(self, query):
        return np.full_like(super().map(query), np.nan)


class SometimesAMap(Grounder):
    asked = 0

    def ground(self, queries):
        type(self).asked += 1
        answers = super().ground(queries)
        return answers if self.asked % 2 else [replace(a, heatmap=None) for a in answers]


class OtherMaps(Grounder):
    asked = 0

    def map(self, query):
        type(self).asked += 1
        return super().map(query) * (1 + self.asked)


class Chatty(Grounder):
    asked = 0

    def answer(self, query):
        type(self).asked += 1
        return replace(super().answer(query), raw=f"answer {self.asked}")


class Backwards(Grounder):
    """Right alone, and for all at once in their given order only."""

    def ground(self, queries):
        answers = super().ground(queries)
        sides = [len(query.phrase) for query in queries]
        return answers if sides[0] >= sides[-1] else answers[::-1]


class AddsABox(Grounder):
    def round_trip(self, image, boxes):
        return np.concatenate([super().round_trip(image, boxes)] * 2)


class Forgetful(Grounder):
    def ground_with(self, queries, demonstrations):
        shown = [tuple(d.image.image_id for d in some[:-1]) for some in demonstrations]
        answers = self.ground(queries)
        return [replace(a, demonstrations=s) for a, s in zip(answers, shown, strict=True)]


@pytest.mark.parametrize(
    ("model", "promise", "hint"),
    [
        (OtherStatus(), "answers", "status 'none'"),
        (FlatBoxes(), "boxes", "boxes of shape (4,)"),
        (Overflow(), "boxes", "a box is not finite"),
        (OneScore(), "boxes", "1 scores for 2 boxes"),
        (NanMap(), "heat maps", "a map is infinite, or NaN everywhere"),
        (SometimesAMap(), "same answer twice, locating", "a heat map once, then none"),
        (OtherMaps(), "same answer twice, locating", "two different heat maps"),
        (Chatty(), "same answer twice, locating", "ok 'answer"),
        (AddsABox(), "boxes survive writing and reading", "1 box written, 2 read"),
    ],
)
def test_a_wrong_grounding_adapter_is_told_which_promise(model, promise, hint, tmp_path):
    assert hint in broken(model, tmp_path)[promise]


class InPixels(Grounder):
    """A grounder whose numbers are pixels of the square film; it sees that four times finer."""

    counted = "pad square"

    def sees(self, image):
        frame = read_geometry("pad square").frame(*image.size())
        return frame.pixels(image.picture()).repeat(4, axis=0).repeat(4, axis=1), frame

    def counts_in(self, image):
        return read_geometry(self.counted).frame(*image.size()).size if self.counted else None


class OtherGrid(InPixels):
    counted = "squash 224"


class InThousandths(InPixels):
    counted = ""


def test_a_model_that_counts_pixels_must_count_those_of_its_frame(tmp_path):
    promise = "answers in pixels of the declared frame"
    right = verdicts(InPixels(), tmp_path)
    assert right[promise][0] == right["pixels in the declared frame"][0] == "kept"
    said = broken(OtherGrid(), tmp_path)
    assert set(said) == {promise}
    assert "has 224 x 224 pixels, the declared frame 240 x 240" in said[promise]
    assert "limits of pixels" in said[promise]
    assert verdicts(InThousandths(), tmp_path)[promise] == (
        "not asked",
        "its answers are not in pixels | ",
    )
    assert verdicts(Grounder(), tmp_path)[promise][0] == "not asked"


def test_answers_out_of_order_and_forgotten_examples_are_found(tmp_path):
    said = broken(Backwards(), tmp_path)
    assert any("order" in detail for detail in said.values()), said
    assert any("as its examples" in detail for detail in broken(Forgetful(), tmp_path).values())


def test_what_a_model_was_not_taught_is_not_asked(tmp_path):
    class Untaught(Grounder):
        def ground(self, queries):
            raise NotScorable(f"not taught: grounding of {len(queries)} phrases")

    found = verdicts(Untaught(), tmp_path)
    assert found["boxes"][0] == "not asked"
    assert "not taught: grounding" in found["boxes"][1]
