"""Family `hf_vlm`: generative models that write boxes as text.

MedGemma, Qwen2.5-VL and Qwen3-VL, CheXOne, RadVLM, InternVL3, PaliGemma 2, Florence-2.
The library's own processor makes pixels and tokens; the card says what is done to a film before
it, how the model is asked, and in which frame its numbers are meant.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL.Image
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from baselines.card_schema import Card, VlmRules
from baselines.cards import model_card
from baselines.codecs import encode, in_pixels, parse
from baselines.offline import go_offline
from baselines.pixels import PixelRules
from baselines.sight import brightness, pixel_grid
from baselines.vlm_context import Reader, fitting, room_of
from baselines.vlm_inputs import Turn, batch_inputs
from baselines.weights import Weights
from harness.boxes import Boxes
from harness.errors import BenchError
from harness.geometry import Frame, read_geometry
from harness.images import Image, Picture
from harness.models import Demonstration, Grounding, ModelCard, Query


@dataclass(frozen=True)
class _Written:
    """An answer, special tokens kept; `complete`: it came to its own end, which `tokens` counts."""

    text: str
    complete: bool
    tokens: int


@dataclass(frozen=True)
class Vlm:
    """A `GroundingModel` that is asked one image and one phrase at a time."""

    card: ModelCard
    rules: VlmRules
    model: Any
    processor: Any
    device: str
    reader: Reader

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query, generated greedily in one batch."""
        return self.answer(queries, [()] * len(queries))

    def answer(
        self, queries: Sequence[Query], demonstrations: Sequence[Sequence[Demonstration]]
    ) -> list[Grounding]:
        """As `ground`, each query after its demonstrations (see `InContextVlm`)."""
        turns = [self._turns(q, shown) for q, shown in zip(queries, demonstrations, strict=True)]
        room = room_of(self.model, self.rules) if any(demonstrations) else None
        kept, inputs = fitting(self.processor, self.rules, turns, room)
        counts = [len(item) - 1 for item in kept]
        shown = [d[len(d) - n :] for d, n in zip(demonstrations, counts, strict=True)]
        answers = self._generate(inputs, shown)
        return [
            replace(self._read(query, answer, one), left_out=len(given) - len(one))
            for query, answer, one, given in zip(
                queries, answers, shown, demonstrations, strict=True
            )
        ]

    def round_trip(self, image: Image, boxes: Boxes) -> Boxes:
        """Boxes written as an answer about this image and read back, for `bench check`."""
        frame = self._frame(image)
        return parse(self.rules.codec, encode(self.rules.codec, boxes, "a", frame), frame).boxes

    def sees(self, image: Image) -> tuple[Any, Frame]:
        """The film in the model's input and the frame of its numbers, for `bench check`.

        Where the processor cuts the picture into tiles or patches, the picture given to it.
        """
        width, height = image.size()
        blank = Picture(np.zeros((height, width), np.uint8), width, height)
        picture, black = self._picture(image), _colored(self._pixels().picture(blank))
        found = brightness(self._inputs(picture), self._inputs(black))
        if found is None:
            found = np.subtract(*(np.asarray(one.convert("L"), float) for one in (picture, black)))
        return found, self._frame(image)

    def counts_in(self, image: Image) -> tuple[int, int] | None:
        """Width and height of the input if the model's numbers are its pixels, else None."""
        if not in_pixels(self.rules.codec):
            return None
        return pixel_grid(self._inputs(self._picture(image)), self.processor)

    def _inputs(self, picture: PIL.Image.Image) -> Any:
        return batch_inputs(self.processor, self.rules, [[Turn(picture, self._prompt("mark"))]])

    def _turns(self, query: Query, demonstrations: Sequence[Demonstration]) -> list[Turn]:
        """Solved examples first, each in its own image's frame, then the question."""
        turns = [
            Turn(self._picture(d.image), self._prompt(d.phrase), self._solution(d))
            for d in demonstrations
        ]
        return [*turns, Turn(self._picture(query.image), self._prompt(query.phrase))]

    def _solution(self, shown: Demonstration) -> str:
        return encode(self.rules.codec, shown.boxes, shown.phrase, self._frame(shown.image))

    def _prompt(self, phrase: str) -> str:
        spoken = phrase.lower() if self.rules.lower and not phrase.isupper() else phrase
        return self.rules.prompt.replace("{phrase}", spoken)

    def _picture(self, image: Image) -> PIL.Image.Image:
        """What is put before the processor; decoded once for all phrases and models."""
        return _colored(self._pixels().prepare(image))

    def _pixels(self) -> PixelRules:
        # Mean and std are the processor's.
        return PixelRules(read_geometry(self.rules.picture), (), ())

    def _frame(self, image: Image) -> Frame:
        return read_geometry(self.rules.coordinates).frame(*image.size())

    @torch.inference_mode()
    def _generate(self, inputs: Any, shown: Sequence[Sequence[Demonstration]]) -> list[_Written]:
        """One answer per item, in one batch; each token is computed once, from kept states."""
        inputs = inputs.to(self.device)
        inputs = inputs.to(next(self.model.parameters()).dtype)  # pixels only; ids stay whole
        # Checkpoints from training may say `use_cache: false`, and would read all for each token.
        how = {"max_new_tokens": self.rules.max_new_tokens, "do_sample": False, "use_cache": True}
        shared = [_same(examples) for examples in shown]
        if self.reader.keeps(shared):
            rows = self.reader.after_examples(inputs, shared[0], **how)
            return [self._decoded(row) for row in rows]
        ids = self.model.generate(**inputs, **how)
        # An encoder-decoder gives back its start mark, any other model the whole prompt.
        told = 1 if self.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        return [self._decoded(row.tolist()) for row in ids[:, told:]]

    def _decoded(self, ids: list[int]) -> _Written:
        config = self.model.generation_config
        ends = config.eos_token_id
        ends = set(ends) if isinstance(ends, list | tuple) else {ends}
        stop = next((place for place, token in enumerate(ids) if token in ends), None)
        kept = ids if stop is None else ids[:stop]
        words = kept[1:] if kept[:1] == [config.bos_token_id] else kept
        text = self.processor.tokenizer.decode(words, skip_special_tokens=False)
        return _Written(text, stop is not None, len(kept) + (stop is not None))

    def _read(self, query: Query, answer: _Written, shown: Sequence[Demonstration]) -> Grounding:
        parsed = parse(
            self.rules.codec,
            answer.text,
            self._frame(query.image),
            phrase=query.phrase,
            complete=answer.complete,
        )
        return Grounding(
            boxes=parsed.boxes,
            raw=answer.text,
            status=parsed.status,
            demonstrations=tuple(d.image.image_id for d in shown),
            tokens=answer.tokens,
        )


def _colored(grey: Any) -> PIL.Image.Image:
    return PIL.Image.fromarray(grey).convert("RGB")


def _same(examples: Sequence[Demonstration]) -> Hashable:
    """What is equal for two rows that are shown the same examples."""
    return tuple((d.image.image_id, d.phrase, d.boxes.tobytes()) for d in examples)


@dataclass(frozen=True)
class InContextVlm:
    """An `InContextGrounder`: a model that takes several images in one conversation."""

    card: ModelCard
    vlm: Vlm

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query, without examples."""
        return self.vlm.ground(queries)

    def ground_with(
        self, queries: Sequence[Query], demonstrations: Sequence[Sequence[Demonstration]]
    ) -> list[Grounding]:
        """One answer per query after its demonstrations, most similar last."""
        return self.vlm.answer(queries, demonstrations)

    def round_trip(self, image: Image, boxes: Boxes) -> Boxes:
        """As `Vlm.round_trip`."""
        return self.vlm.round_trip(image, boxes)

    def sees(self, image: Image) -> tuple[Any, Frame]:
        """As `Vlm.sees`."""
        return self.vlm.sees(image)

    def counts_in(self, image: Image) -> tuple[int, int] | None:
        """As `Vlm.counts_in`."""
        return self.vlm.counts_in(image)


def load(card: Card, weights: Weights, device: str = "cpu") -> Vlm | InContextVlm:
    """The generative model of a card; one that takes several images can be shown examples.

    Raises:
        BenchError: the folder does not hold what the card says.
    """
    go_offline()
    rules = card.vlm
    if rules is None:
        raise ValueError(f"{card.name}: hf_vlm without vlm rules")
    model = _model(card, weights, device)
    processor = AutoProcessor.from_pretrained(
        weights.folder, local_files_only=True, trust_remote_code=card.runtime.remote_code
    )
    processor.tokenizer.padding_side = "left"  # generation goes on from the last position
    vlm = Vlm(model_card(card, weights), rules, model, processor, device, Reader(model))
    return InContextVlm(vlm.card, vlm) if rules.multi_image else vlm


def _model(card: Card, weights: Weights, device: str) -> Any:
    on_gpu = device.startswith("cuda")
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            weights.folder,
            dtype=getattr(torch, card.runtime.dtype) if on_gpu else torch.float32,
            attn_implementation=card.runtime.attention,
            local_files_only=True,
            trust_remote_code=card.runtime.remote_code,
        )
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{card.name}: {weights.folder.name} is no model that transformers can load: {error}"
        ) from error
    # Checkpoints ship sampling settings; greedy decoding warns of each that is set.
    for setting in ("temperature", "top_p", "top_k", "min_p", "typical_p"):
        setattr(model.generation_config, setting, None)
    return model.eval().to(device)
