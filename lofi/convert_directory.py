"""Released weights put into base models and written as a LoFi directory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import BenchError, unknown
from lofi.build import build
from lofi.checkpoint import save_pretrained
from lofi.config import LOSSES, LofiConfig, parse
from lofi.convert import Released, Tensors, naming, read_released
from lofi.model import LofiModel

_BOXES_ONLY = ("padchest", "tn5000", "segthor")  # datasets of LoFi-MedG's trainer: boxes are asked
_QUESTIONS = ("slake", "vqarad", "omnimedvqa")  # answers to questions, none of the four losses


@dataclass(frozen=True)
class Converted:
    """The model, the keys that found no partner, and what its losses were concluded from."""

    model: LofiModel
    unmatched: tuple[str, ...]
    losses_from: str


def named_losses(text: str) -> tuple[str, ...]:
    """The losses in a list with commas, in the order of the settings.

    >>> named_losses("dense-captioning, sigmoid")
    ('sigmoid', 'dense_captioning')

    Raises:
        BenchError: a name is not known (with the nearest known one).
    """
    names = [name.strip().replace("_", "-") for name in text.split(",")]
    known = spelled(LOSSES)
    for name in names:
        if name not in known:
            raise BenchError(f"--losses: {unknown('loss', name, known)}")
    return tuple(loss for loss, name in zip(LOSSES, known, strict=True) if name in names)


def spelled(losses: Sequence[str]) -> list[str]:
    """The losses as the command line spells them.

    >>> spelled(["sigmoid", "dense_captioning"])
    ['sigmoid', 'dense-captioning']
    """
    return [loss.replace("_", "-") for loss in losses]


def shown_losses(released: Released) -> tuple[tuple[str, ...], str]:
    """The losses a file shows it was trained with, and by what; all four if it shows nothing.

    Source: main.py and dataset/base.py of LoFi-MedG (arXiv 2608.00976), whose one loss is over
    answers; argparse stores all its options, so `medg_dir` tells its files from LoFi's.
    """
    given = released.arguments
    if "medg_dir" in given:
        dataset = f"{given.get('dataset')} {given.get('concat_dataset') or ''}".strip()
        return _medg_losses(given), f"its args are LoFi-MedG's, trained on {dataset}"
    if released.text_untouched:
        return LOSSES[1:], "the adapters of its text tower were never trained"
    return LOSSES, "assumed, since it does not say; else name them with --losses"


def _medg_losses(given: Mapping[str, Any]) -> tuple[str, ...]:
    dataset, beside = given.get("dataset"), str(given.get("concat_dataset") or "")
    if "mimic" not in beside and dataset in _BOXES_ONLY:
        return ("grounding",)
    if "mimic" not in beside and dataset in _QUESTIONS:
        raise BenchError(
            f"args.dataset: found {dataset!r}, whose answers teach none of the losses "
            f"{', '.join(spelled(LOSSES))}. Expected a model taught one of them. Name what it was "
            "taught before with --losses."
        )
    return ("grounding", "dense_captioning")


def settings_of(
    released: Released,
    *,
    encoder: str,
    decoder: str,
    gguf_file: str = "",
    losses: Sequence[str] = LOSSES,
) -> LofiConfig:
    """The settings a released file stands for; `encoder` and `decoder` are local base models.

    Losses that are not in `losses` get weight 0: what they teach is then not asked.
    """
    given = released.arguments
    return parse(
        {
            "name": "lofi-released",
            "towers": {"pretrained": encoder, "channels": 3},
            "decoder": {"pretrained": decoder, "gguf_file": gguf_file},
            "tokens": {
                "count": len(released.pooling["probe"]),
                "pool": 2 if given.get("pool2x2", True) else 1,
                "kind": "heads",
            },
            "losses": {loss: 0.0 for loss in LOSSES if loss not in losses},
        },
        "released checkpoint",
    )


def convert(
    file: Path,
    out: Path,
    *,
    encoder: str = "",
    decoder: str = "",
    gguf_file: str = "",
    losses: Sequence[str] = (),
) -> Converted:
    """Read a released checkpoint, put it into its base models, write the directory.

    The adapters are merged: the directory needs neither `peft` nor the base models again. An empty
    `decoder` part means that the decoder was not tuned and keeps the base model's weights. Without
    `losses` they are those that the file shows.

    Raises:
        BenchError: a part of the file is missing, of another kind, or of another shape.
    """
    released = read_released(file)
    with naming(file):
        taught, shown = (tuple(losses), "as --losses says") if losses else shown_losses(released)
        config = settings_of(
            released,
            encoder=encoder or _base(released, "model_name", "--encoder"),
            decoder=decoder or _base(released, "decoder_name", "--decoder"),
            gguf_file=gguf_file,
            losses=taught,
        )
    model = build(config)
    with naming(file):
        unmatched = (*released.unmatched, *_fill_all(model, released))
    arguments = {k: str(v) for k, v in released.arguments.items()}
    record = {"converted_from": file.name, "arguments": arguments, "losses_from": shown}
    save_pretrained(model, out, record=record)
    return Converted(model, unmatched, shown)


def _base(released: Released, option: str, flag: str) -> str:
    value = released.arguments.get(option)
    if not isinstance(value, str) or not value:
        raise BenchError(
            f"args.{option}: found {value!r}. Expected the base model's name. Name its folder: "
            f"{flag} FOLDER."
        )
    return value


def _fill_all(model: LofiModel, released: Released) -> list[str]:
    unmatched = fill(model.towers, released.towers, what="state_dict")
    unmatched += fill(model.pooling, released.pooling, what="poolings")
    unmatched += fill(model.projection, released.projection, what="projection")
    if released.decoder:
        unmatched += fill(model.decoder, released.decoder, what="decoder")
        model.decoder.tie_weights()
    return unmatched


def fill(module: torch.nn.Module, tensors: Tensors, *, what: str) -> list[str]:
    """Copy matching tensors into a module; the keys on either side that found no partner.

    Raises:
        BenchError: a key fits but its shape does not.
    """
    known = module.state_dict()
    wrong = [
        f"{name} is {tuple(value.shape)}, expected {tuple(known[name].shape)}"
        for name, value in tensors.items()
        if name in known and known[name].shape != value.shape
    ]
    if wrong:
        raise BenchError(
            f"{what}: {'; '.join(wrong[:5])}. The checkpoint belongs to another base model. "
            "Name the one in its args."
        )
    module.load_state_dict({k: v for k, v in tensors.items() if k in known}, strict=False)
    return _listed(what, "unknown", tensors.keys() - known.keys()) + _listed(
        what, "missing", known.keys() - tensors.keys()
    )


def _listed(what: str, side: str, names: Iterable[str]) -> list[str]:
    return [f"{side} {what}.{name}" for name in sorted(names)]
