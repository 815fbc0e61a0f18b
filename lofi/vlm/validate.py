"""Does it use its examples? Grounding of held-out names after none, right and wrong examples."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from harness.boxes import Boxes
from harness.made_up import draw_name
from harness.metrics.grounding import ragged
from harness.metrics.overlap import union_iou
from lofi.location import parse_boxes
from lofi.picture import to_input
from lofi.vlm.episodes import Turn
from lofi.vlm.pictures import rgb
from lofi.vlm.read import Pool
from lofi.vlm.sequences import Writer

BATCH = 48
BOX_TOKENS = 64
Episode = list[Turn]


def validate(
    model: Any, writer: Writer, pool: Pool, *, count: int, seed: int = 0
) -> dict[str, float]:
    """The mIoU on the padded square for each kind of context; `count` queries at most.

    `made-up/k`: a held-out name after k examples of it; `made-up/other`: after four examples of
    other findings under other names; `made-up/swapped`: the right examples with the boxes of those
    others; `familiar/k`: its own phrase after k examples of anything; `copy`: the boxes of the
    last example.
    """
    draw = np.random.default_rng([seed, 7])
    queries = _queries(pool, count, draw)
    shown = [_examples(pool, one, draw) for one in queries]
    kinds: dict[str, list[Episode]] = {}
    for k in (0, 1, 2, 4):
        kinds[f"made-up/{k}"] = [
            [*right[len(right) - k :], query]
            for query, (right, _, _) in zip(queries, shown, strict=True)
        ]
    kinds["made-up/other"] = [
        [*other, query] for query, (_, other, _) in zip(queries, shown, strict=True)
    ]
    kinds["made-up/swapped"] = [
        [*_swapped(right, other), query]
        for query, (right, other, _) in zip(queries, shown, strict=True)
    ]
    familiar = [_familiar(pool, one, draw) for one in queries]
    kinds["familiar/0"] = [[one] for one in familiar]
    kinds["familiar/4"] = [[*any_, one] for one, (_, _, any_) in zip(familiar, shown, strict=True)]
    was_training = model.training
    model.eval()
    out = {name: miou(model, writer, pool, turns) for name, turns in kinds.items()}
    model.train(was_training)
    copied = [right[-1].boxes for right, _, _ in shown]
    out["copy"] = float(union_iou(ragged(copied), ragged([q.boxes for q in queries])).mean())
    return out


def _queries(pool: Pool, count: int, draw: np.random.Generator) -> list[Turn]:
    enough = {name for name, images in pool.by_finding.items() if len(images) > 4}
    out = []
    for image in draw.permutation(len(pool)).tolist():
        findings = sorted({p.finding for p in pool.phrases[image]} & enough)
        if findings and len(out) < count:
            finding = findings[draw.integers(len(findings))]
            out.append(_named(pool, image, finding, draw_name(draw, held_out=True)))
    return out


def _named(pool: Pool, image: int, finding: str, name: str) -> Turn:
    return Turn(image, name, pool.boxes_of(image, finding), finding, True)


def _examples(
    pool: Pool, query: Turn, draw: np.random.Generator
) -> tuple[Episode, Episode, Episode]:
    """Four examples of the finding, four of others under other names, four with own phrases."""
    patient = pool.patients[query.image]
    same = [one for one in pool.by_finding[query.finding] if pool.patients[one] != patient]
    right = [
        _named(pool, int(image), query.finding, query.phrase)
        for image in draw.choice(same, size=min(4, len(same)), replace=False)
    ]
    other: Episode = []
    any_: Episode = []
    for image in draw.permutation(len(pool)).tolist():
        findings = sorted({p.finding for p in pool.phrases[image]} - {query.finding})
        if pool.patients[image] == patient or not findings:
            continue
        if len(other) < 4:
            finding = findings[draw.integers(len(findings))]
            other.append(_named(pool, image, finding, draw_name(draw, held_out=True)))
        elif len(any_) < 4:
            phrase = pool.phrases[image][draw.integers(len(pool.phrases[image]))]
            any_.append(Turn(image, phrase.text, phrase.boxes, phrase.finding, True))
    return right, other, any_


def _swapped(turns: Episode, others: Episode) -> Episode:
    return [replace(one, boxes=other.boxes) for one, other in zip(turns, others, strict=False)]


def _familiar(pool: Pool, query: Turn, draw: np.random.Generator) -> Turn:
    phrases = [p for p in pool.phrases[query.image] if p.finding == query.finding]
    phrase = phrases[draw.integers(len(phrases))]
    return Turn(query.image, phrase.text, phrase.boxes, phrase.finding, True)


@torch.no_grad()
def miou(model: Any, writer: Writer, pool: Pool, episodes: Sequence[Episode]) -> float:
    """Mean IoU of the last turn's boxes, generated greedily."""
    predicted: list[Boxes] = []
    for start in range(0, len(episodes), BATCH):
        part = episodes[start : start + BATCH]
        ids, mask = writer.asking(part)
        rows = [pool.rows[turn.image] for turns in part for turn in turns]
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            token_type_ids=(ids == writer.soft).long().to(model.device),
            pixel_values=rgb(to_input(pool.squares[rows])).to(model.device),
            max_new_tokens=BOX_TOKENS,
            do_sample=False,
        )
        texts = writer.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=False)
        predicted += [parse_boxes(text.split("\n<end_of_turn>")[0]).boxes for text in texts]
    truth = [turns[-1].boxes for turns in episodes]
    return float(union_iou(ragged(predicted), ragged(truth)).mean())
