"""`bench check`: a right adapter keeps every promise, a wrong one breaks its own, with a hint."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from click.testing import CliRunner

from harness.check import check_model
from harness.commands.check import command
from harness.geometry import read_geometry
from harness.heatmap import PatchMap
from harness.models import Grounding, ModelCard

CARD = ModelCard("mine", "test", weights="1", preprocessing="squash", max_tokens=8)
GEOMETRY = "longest 16, pad 16"


@dataclass
class Embedder:
    """A right embedding model of numpy: random projections of pixels and of letters."""

    card: ModelCard = CARD
    geometry: str = GEOMETRY
    weights: np.ndarray = field(
        default_factory=lambda: np.random.default_rng(0).normal(size=(256, 6))
    )

    def prepare_image(self, image):
        picture = image.picture()
        return read_geometry(GEOMETRY).frame(picture.width, picture.height).pixels(picture)

    def sees(self, image):
        return self.prepare_image(image), read_geometry(self.geometry).frame(*image.size())

    def embed_images(self, prepared):
        return self.unit(np.stack([p.ravel() / 255.0 for p in prepared]) @ self.weights)

    def embed_texts(self, texts):
        letters = np.zeros((len(texts), 256))
        for row, text in enumerate(texts):
            for place, letter in enumerate(text):
                letters[row, (ord(letter) + place) % 256] += 1
        return self.unit(letters @ self.weights)

    def count_tokens(self, texts):
        return [len(text.split()) + 2 for text in texts]

    def unit(self, rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass
class Grounder:
    """A right grounding model: the brightest patch of the film, and its map."""

    card: ModelCard = CARD

    def ground(self, queries):
        return [self.answer(query) for query in queries]

    def answer(self, query):
        return Grounding(boxes=self.boxes(query), heatmap=self.map(query))

    def boxes(self, query):
        side = 0.1 + 0.01 * (len(query.phrase) % 7)
        return np.float32([[0.5, 0.3, 0.5 + side, 0.9]])

    def map(self, query):
        picture = query.image.picture()
        frame = read_geometry("squash 8").frame(picture.width, picture.height)
        grid = frame.pixels(picture) / 255.0
        return PatchMap(grid, "squash 8", picture.width, picture.height).project()

    def round_trip(self, image, boxes):
        frame = read_geometry("pad square").frame(*image.size())
        return frame.to_film(frame.to_model(boxes))


def verdicts(model, folder) -> dict[str, tuple[str, str]]:
    return {v.promise: (v.outcome, f"{v.detail} | {v.hint}") for v in check_model(model, folder)}


def broken(model, folder) -> dict[str, str]:
    return {name: said for name, (out, said) in verdicts(model, folder).items() if out == "broken"}


@pytest.mark.parametrize("model", [Embedder(), Grounder()])
def test_a_right_adapter_keeps_every_promise(model, tmp_path):
    assert broken(model, tmp_path) == {}
    found = verdicts(model, tmp_path)
    assert [out for out, _ in found.values()].count("kept") >= 8
    assert found["memory and time"][0] == "measured"  # no promise: nothing about it can be broken


class NotNormalized(Embedder):
    def unit(self, rows):
        return rows


class TokenGrid(Embedder):
    def embed_images(self, prepared):
        return np.stack([self.unit((p + 1.0) @ self.weights[:16]) for p in prepared])


class OtherSize(Embedder):
    def embed_texts(self, texts):
        return super().embed_texts(texts)[:, :4]


class NotFinite(Embedder):
    def embed_images(self, prepared):
        rows = super().embed_images(prepared)
        rows[1, 2] = np.nan
        return rows


class Dropout(Embedder):
    def embed_images(self, prepared):
        noise = np.random.default_rng().normal(scale=0.1, size=(len(prepared), 6))
        return self.unit(super().embed_images(prepared) + noise)


class PaddedToTheLongest(Embedder):
    def embed_texts(self, texts):
        longest = max(map(len, texts))
        return super().embed_texts([text.ljust(longest, "~") for text in texts])


class Sorted(Embedder):
    def embed_images(self, prepared):
        return super().embed_images(sorted(prepared, key=lambda p: int(p.sum())))


class Collapsed(Embedder):
    def embed_texts(self, texts):
        return np.repeat(super().embed_texts(["a"]), len(texts), axis=0)


class CountsAfterTheCut(Embedder):
    def count_tokens(self, texts):
        return [min(count, 8) for count in super().count_tokens(texts)]


@pytest.mark.parametrize(
    ("model", "promise", "hint"),
    [
        (NotNormalized(), "unit vectors", "missing normalization"),
        (TokenGrid(), "shapes", "a grid of tokens, not one vector per input"),
        (OtherSize(), "shapes", "one tower is not projected"),
        (NotFinite(), "finite", "1 values are NaN or infinite"),
        (Dropout(), "same answer twice", "call model.eval()"),
        (PaddedToTheLongest(), "same in any batch", "never to the longest"),
        (Sorted(), "same in any order", "answers must be in order"),
        (Collapsed(), "different inputs differ", "is the input used at all"),
        (CountsAfterTheCut(), "tokens are counted", "count before truncation"),
        (Embedder(geometry="squash 16"), "pixels in the declared frame", "wrong frame"),
        (Embedder(card="mine"), "card", "give it a harness.models.ModelCard"),
    ],
)
def test_a_wrong_embedding_adapter_breaks_its_promise_with_a_hint(model, promise, hint, tmp_path):
    found = broken(model, tmp_path)
    assert hint in found[promise]


class Pixels(Grounder):
    def boxes(self, query):
        return super().boxes(query) * query.image.size()[0]


class NoCorner(Grounder):
    def boxes(self, _):
        return np.float32([[0.5, 0.3, 0.1, 0.2]])


class MapOfTheModel(Grounder):
    def map(self, _):
        return np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)


class MapTransposed(Grounder):
    def map(self, query):
        return super().map(query).T


class PooledMap(Grounder):
    def map(self, query):
        return np.full_like(super().map(query), 0.3)


class NothingIsOk(Grounder):
    def answer(self, _):
        return Grounding(status="ok")


class OneTooFew(Grounder):
    def ground(self, queries):
        return super().ground(queries)[:-1]


class Turned(Grounder):
    def round_trip(self, _, boxes):
        return boxes[:, [1, 0, 3, 2]]


class WidthHeight(Grounder):
    def round_trip(self, _, boxes):
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


class Mirrored(Grounder):
    def round_trip(self, _, boxes):
        return np.float32([[1 - b[2], b[1], 1 - b[0], b[3]] for b in boxes])


class NotUnpadded(Grounder):
    def round_trip(self, image, boxes):
        return read_geometry("pad square").frame(*image.size()).to_model(boxes)


class Sampling(Grounder):
    def answer(self, query):
        shift = np.float32(np.random.default_rng().uniform(0, 0.1))
        return Grounding(boxes=self.boxes(query) - shift)


class Remembers(Grounder):
    def ground(self, queries):
        first = self.boxes(queries[0])
        return [Grounding(boxes=first) for _ in queries]


@pytest.mark.parametrize(
    ("model", "promise", "hint"),
    [
        (Pixels(), "boxes", "pixels? divide by the film's width"),
        (NoCorner(), "boxes", "width and height instead of a second corner"),
        (MapOfTheModel(), "heat maps", "in the model's frame: project it to the film"),
        (MapTransposed(), "heat maps", "transposed: heat maps are (height, width)"),
        (PooledMap(), "heat maps", "pooled instead of patch features"),
        (NothingIsOk(), "answers", "no box is only 'empty' if the model said so"),
        (OneTooFew(), "answers", "one each, in order"),
        (Turned(), "boxes survive writing and reading", "transposed boxes"),
        (WidthHeight(), "boxes survive writing and reading", "width and height instead"),
        (Mirrored(), "boxes survive writing and reading", "left and right are exchanged"),
        (NotUnpadded(), "boxes survive writing and reading", "wrong frame"),
        (Sampling(), "same answer twice, locating", "decode greedily"),
        (Remembers(), "same in any batch, locating", "alone and together"),
    ],
)
def test_a_wrong_grounding_adapter_breaks_its_promise_with_a_hint(model, promise, hint, tmp_path):
    found = broken(model, tmp_path)
    assert hint in found[promise]


def test_what_an_adapter_raises_is_its_verdict_and_the_others_are_still_asked(tmp_path):
    class Raises(Embedder):
        def embed_texts(self, _):
            raise KeyError("logit_scale")

    found = verdicts(Raises(), tmp_path)
    assert found["shapes"][0] == "broken"
    assert "KeyError: 'logit_scale'" in found["shapes"][1]
    assert found["pixels in the declared frame"][0] == "kept"


def test_an_object_without_any_protocol_is_told_what_a_model_has(tmp_path):
    class Thing:
        card = CARD

        def predict(self):
            """Nothing that is asked for."""

    said = broken(Thing(), tmp_path)["protocol"]
    assert "Thing has card, predict" in said
    assert "embed_images" in said


def load_right(_device):
    return Embedder()


def load_wrong(_device):
    return NotNormalized()


@pytest.mark.parametrize(("load", "code"), [("load_right", 0), ("load_wrong", 1)])
def test_the_command_exits_1_if_a_promise_is_broken(load, code):
    result = CliRunner().invoke(command, [f"{__name__}:{load}"])
    assert result.exit_code == code, result.output
    assert ("keeps every promise" in result.output) == (code == 0)
    assert "memory and time" in result.output
