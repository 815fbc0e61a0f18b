"""`bench predict IMAGE [PHRASE ...]`: boxes drawn on the image, and the nearest reports."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from harness.boxes import Boxes, to_pixels
from harness.commands.options import data_option, output_options
from harness.commands.progress import RunProgress
from harness.errors import BenchError
from harness.images import Image
from harness.models import (
    Captioner,
    EmbeddingModel,
    Grounding,
    GroundingModel,
    NotScorable,
    Query,
    TokenCounter,
)
from harness.samples import Dataset
from harness.tasks.embedding import embed_texts
from harness.tasks.task import Asking, NonFinite

COLORS = ("#ff7f2a", "#4ea8f0", "#4fd06f", "#b9a3ff", "#ffd23f")  # light: they lie on black, too
LEAST = 512  # pixels of the drawn picture's longer side, so that boxes of small films can be seen
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PATH = click.Path(path_type=Path)


@click.command("predict")
@click.argument("image", type=_FILE)
@click.argument("phrases", nargs=-1)
@click.option("--model", default="lofi-tiny", show_default=True, help="Name or folder of a model.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
@click.option("--out", type=_PATH, help="The picture (default: IMAGE-boxes.png).")
@click.option("--reports", type=_FILE, help="Reports to search, one per line.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True,
              help="Without --reports: so many reports of mimic-cxr's test split.")  # fmt: skip
@click.option("--nearest", type=click.IntRange(min=0), default=3, show_default=True)
@data_option
@output_options
def command(
    image: Path,
    phrases: Sequence[str],
    model: str,
    device: str,
    out: Path | None,
    reports: Path | None,
    limit: int,
    nearest: int,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Locate each PHRASE in IMAGE, draw the boxes, and print what the model makes of the image."""
    loaded = _load(model, device)
    picture = Image(image.stem, image)
    answers = locate(loaded, picture, phrases)
    for phrase, answer in zip(phrases, answers, strict=False):
        click.echo(f"{phrase}: {said(answer)}")
    if answers:
        target = out or image.with_name(f"{image.stem}-boxes.png")
        draw(picture, list(zip(phrases, answers, strict=True))).save(target)
        click.echo(f"picture: {target}")
    if nearest and isinstance(loaded, EmbeddingModel):
        with RunProgress(quiet=quiet, log_json=log_json) as told:
            texts = _texts(reports, data, limit, told)
        _print_nearest(loaded, picture, texts, nearest)
    if isinstance(loaded, Captioner):
        _print_report(loaded, picture)


def _load(model: str, device: str) -> Any:
    from harness.environment import pick_device
    from harness.registry import find_model
    from harness.suite_schema import ModelReference

    return find_model(ModelReference(name=model)).load(pick_device(device))


def locate(model: Any, image: Image, phrases: Sequence[str]) -> list[Grounding]:
    """The answer to each phrase; none if there are no phrases.

    Raises:
        BenchError: the model locates nothing.
    """
    if not phrases:
        return []
    if not isinstance(model, GroundingModel):
        raise BenchError(
            f"{model.card.name} has no ground(queries), so it cannot locate a phrase. Name a "
            "model that can (bench list models), or leave the phrases out."
        )
    try:
        return model.ground([Query(image, phrase) for phrase in phrases])
    except NotScorable as reason:
        raise BenchError(f"{model.card.name}: {reason}. Name another model.") from reason


def said(answer: Grounding) -> str:
    """One line for an answer: boxes in percent of width and height, none, or what was unreadable.

    >>> said(Grounding(boxes=np.float32([[0.1, 0.2, 0.5, 0.6]])))
    'x 10-50 %, y 20-60 %'
    """
    if answer.status == "malformed":
        return f"unreadable answer {answer.raw[:80]!r}"
    if not len(answer.boxes):
        return "a heat map, no boxes" if answer.heatmap is not None else "none"
    rows = (np.asarray(answer.boxes) * 100).round().astype(int).tolist()
    return "; ".join(f"x {a}-{c} %, y {b}-{d} %" for a, b, c, d in rows)


def draw(image: Image, answers: Sequence[tuple[str, Grounding]]) -> PIL.Image.Image:
    """The image with each phrase's boxes in a color of their own, and what each color stands for.

    A phrase without boxes says why beside its name.
    """
    film = PIL.Image.fromarray(image.read())
    factor = max(1.0, LEAST / max(film.size))
    film = film.resize((round(film.width * factor), round(film.height * factor))).convert("RGB")
    pen = PIL.ImageDraw.Draw(film)
    width = max(2, round(max(film.size) / 300))
    for number, (_, answer) in enumerate(answers):
        _boxes(pen, answer.boxes, film.size, (COLORS[number % len(COLORS)], width))
    _legend(pen, answers, film.size)
    return film


def _legend(
    pen: PIL.ImageDraw.ImageDraw, answers: Sequence[tuple[str, Grounding]], size: tuple[int, int]
) -> None:
    """One line per phrase in the upper left corner, on black, in letters that fit the picture."""
    font = PIL.ImageFont.load_default(size=max(14, round(max(size) / 34)))
    edge = max(4, round(max(size) / 128))
    top = edge
    for number, (phrase, answer) in enumerate(answers):
        if not phrase:
            continue
        line = phrase if len(answer.boxes) else f"{phrase}: {_lack(answer)}"
        while len(line) > 4 and pen.textlength(line, font=font) > size[0] - 2 * edge:
            line = line[:-4] + "..."
        left, upper, right, lower = pen.textbbox((edge, top), line, font=font)
        pen.rectangle((left - 2, upper - 2, right + 2, lower + 2), fill="black")
        pen.text((edge, top), line, fill=COLORS[number % len(COLORS)], font=font)
        top = round(lower) + edge


def _lack(answer: Grounding) -> str:
    """Why there is no box, in a word or two."""
    return "unreadable answer" if answer.status == "malformed" else said(answer)


def _boxes(
    pen: PIL.ImageDraw.ImageDraw, boxes: Boxes, size: tuple[int, int], style: tuple[str, int]
) -> None:
    for box in to_pixels(boxes, width=size[0], height=size[1]).tolist():
        pen.rectangle(box, outline=style[0], width=style[1])


def _texts(reports: Path | None, data: Sequence[str], limit: int, told: RunProgress) -> list[str]:
    if reports is not None:
        return _lines(reports)
    from harness.data_access import DataAccess
    from harness.roots import data_roots
    from harness.samples import ImageText
    from harness.suite_schema import Evaluation

    access = DataAccess(data_roots(data), limit, told.progress)
    loaded = access.load(Evaluation(task="retrieval", dataset="mimic-cxr", split="test"))
    if loaded.dataset is None:
        raise BenchError(f"{loaded.reason} Or name a text file: --reports FILE.")
    found = [one.text for one in loaded.dataset.samples if isinstance(one, ImageText)]
    return list(dict.fromkeys(found))


def _lines(reports: Path) -> list[str]:
    try:
        found = [line for line in reports.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BenchError(f"{reports}: not text: {error}. Expected one report per line.") from error
    if not found:
        raise BenchError(f"{reports}: found no text. Expected one report per line.")
    return found


def nearest_texts(
    model: EmbeddingModel, image: Image, texts: Sequence[str], count: int
) -> list[tuple[float, str]]:
    """The `count` texts nearest to the image with their cosine, nearest first.

    A text beyond the model's limit is the mean of its chunks, as in the suites; a model that does
    not count tokens cuts it.
    """
    vector = model.embed_images([model.prepare_image(image)])[0]
    asking = Asking(
        model=model,
        card=model.card,
        dataset=Dataset("reports", "retrieval", "all", "as-given", "1", ()),
        sink=cast(Any, None),  # nothing is kept
        text_policy="chunk-mean" if _reads_all(model) else "official",
    )
    similarity = embed_texts(asking, model, texts) @ vector
    best = np.argsort(-similarity, kind="stable")[:count]
    return [(float(similarity[row]), texts[row]) for row in best]


def _reads_all(model: EmbeddingModel) -> bool:
    """Whether long texts can be read in chunks."""
    return isinstance(model, TokenCounter) and bool(model.card.max_tokens)


def _print_nearest(model: Any, image: Image, texts: Sequence[str], count: int) -> None:
    try:
        found = nearest_texts(model, image, texts, count)
    except (NotScorable, NonFinite) as reason:
        click.echo(f"nearest reports: {reason}")
        return
    limit = model.card.max_tokens
    cut = "" if _reads_all(model) or not limit else f", each by its first {limit} tokens"
    click.echo(f"nearest of {len(texts)} reports{cut}:")
    for cosine, text in found:
        click.echo(f"  {cosine:.3f}  {text}")


def _print_report(model: Captioner, image: Image) -> None:
    try:
        click.echo(f"report: {model.caption([image])[0]}")
    except NotScorable as reason:
        click.echo(f"report: {reason}")
