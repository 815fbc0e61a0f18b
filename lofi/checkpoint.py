"""A model as a directory: config, safetensors, tokenizers, picture settings, training record."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    SiglipConfig,
    SiglipModel,
)
from transformers.utils import logging

from harness.errors import BenchError
from lofi.build import adapt
from lofi.card import read_json
from lofi.config import parse
from lofi.model import LofiModel
from lofi.stem import put_stem

TIED = "decoder.lm_head.weight"  # the same tensor as the embeddings; safetensors keeps one
WEIGHTS = "model.safetensors"
AGAIN = "Copy the directory again whole, or write it anew with `bench train` or `bench convert`."


def save_pretrained(
    model: LofiModel,
    folder: Path,
    *,
    record: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write the directory, whole or not at all; `dtype` casts the weights (bf16 for shipping)."""
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    _write_json(temporary / "config.json", _config(model))
    _write_json(temporary / "preprocessor_config.json", _picture(model))
    _write_json(temporary / "training.json", dict(record or {}))
    save_file(_tensors(model, dtype), str(temporary / WEIGHTS), metadata={"format": "pt"})
    model.tokenizer.save_pretrained(temporary / "tokenizer")
    if model.text_tokenizer is not model.tokenizer:
        model.text_tokenizer.save_pretrained(temporary / "text_tokenizer")
    replace_folder(temporary, folder)


def replace_folder(temporary: Path, folder: Path) -> None:
    """Put a finished folder in the place of another; a reader sees the old or the new one."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n")


def _config(model: LofiModel) -> dict[str, Any]:
    return {
        "model_type": "lofi",
        "settings": model.config.model_dump(mode="json"),
        "towers": model.towers.config.to_dict(),
        "decoder": model.decoder.config.to_dict(),
    }


def _picture(model: LofiModel) -> dict[str, Any]:
    vision = model.towers.config.vision_config
    return {
        "size": vision.image_size,
        "geometry": "longest side to size, black padding, centered",
        "resample": "bicubic, anti-aliased",
        "channels": vision.num_channels,
        "scale": "grey / 127.5 - 1",
    }


def _tensors(model: LofiModel, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    tensors = {name: value for name, value in model.state_dict().items() if name != TIED}
    return {
        name: value.detach().cpu().to(_stored(value, dtype)).contiguous()
        for name, value in tensors.items()
    }


def _stored(value: torch.Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """The type a tensor is written in: counters stay whole numbers."""
    return dtype if dtype is not None and value.is_floating_point() else value.dtype


def from_pretrained(folder: Path, device: str = "cpu") -> LofiModel:
    """The model of a directory, in fp32 whatever type its weights are stored in; in eval mode.

    Raises:
        BenchError: a file is missing or damaged, or weights and config differ (the keys are named).
    """
    folder = Path(folder)
    stored = _stored_config(folder)
    tensors = _stored_weights(folder)  # before the parts are built, which takes longer
    with _no_remarks():
        model = _empty(folder, stored)
    load_weights(model, tensors, where=str(folder))
    return model.to(device).eval()


def _stored_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise BenchError(
            f"{folder}: no config.json. Expected a directory written by `bench train`. "
            "Name a checkpoint folder."
        )
    stored = read_json(file)
    if stored.get("model_type") != "lofi":
        raise BenchError(f"{file}: model_type is {stored.get('model_type')!r}. Expected 'lofi'.")
    for part in ("settings", "towers", "decoder"):
        value = stored.get(part)
        if not isinstance(value, dict):
            found = "nothing" if value is None else type(value).__name__
            raise BenchError(f"{file}: {part}: found {found}. Expected a mapping. {AGAIN}")
    return stored


def _stored_weights(folder: Path) -> dict[str, torch.Tensor]:
    file = folder / WEIGHTS
    if not file.is_file():
        raise BenchError(f"{folder}: no {WEIGHTS}. Expected it beside config.json. {AGAIN}")
    try:
        return load_file(str(file))
    except (OSError, SafetensorError) as error:
        raise BenchError(
            f"{file}: cannot be read ({type(error).__name__}: {error}). Expected a whole "
            f"safetensors file. {AGAIN}"
        ) from error


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Silence transformers, which remarks on the numbers of SigLIP's own vocabulary."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _empty(folder: Path, stored: Mapping[str, Any]) -> LofiModel:
    tokenizer = _stored_tokenizer(folder / "tokenizer")
    other = folder / "text_tokenizer"
    settings = parse(stored["settings"], where=str(folder))
    towers = SiglipModel(SiglipConfig.from_dict(stored["towers"]))
    if settings.towers.stem == "convolutions":
        put_stem(towers)
    model = LofiModel(
        settings,
        towers,
        Gemma3ForCausalLM(Gemma3TextConfig.from_dict(stored["decoder"])),
        tokenizer=tokenizer,
        text_tokenizer=_stored_tokenizer(other) if other.is_dir() else tokenizer,
    )
    return adapt(model)


def _stored_tokenizer(folder: Path) -> Any:
    # An absent folder would be asked for on the hub, by its path as a name.
    if not (folder / "tokenizer_config.json").is_file():
        raise BenchError(
            f"{folder}: no tokenizer_config.json. Expected the tokenizer's files there. {AGAIN}"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # damaged words are a bare Exception of `tokenizers`
        reason = str(error).split("\n", 1)[0]
        raise BenchError(
            f"{folder}: cannot be read ({type(error).__name__}: {reason}). Expected a tokenizer's "
            f"files, whole. {AGAIN}"
        ) from error


def load_weights(model: LofiModel, tensors: Mapping[str, torch.Tensor], *, where: str) -> None:
    """Fill a model; every parameter must be there, once, in its shape.

    Raises:
        BenchError: naming the keys that are missing, unknown or of another shape.
    """
    expected = {name: value for name, value in model.state_dict().items() if name != TIED}
    problems = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    problems += [f"unknown {name}" for name in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(value.shape)}"
        for name, value in sorted(expected.items())
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        shown = "; ".join(problems[:10]) + (" ..." if len(problems) > 10 else "")
        raise BenchError(f"{where}: weights do not fit the settings: {shown}. Use its own config.")
    model.load_state_dict(dict(tensors), strict=False)
    model.decoder.tie_weights()
