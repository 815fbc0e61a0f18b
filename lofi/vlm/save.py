"""The model as a directory of the hub: config, weights, processor, a card, the training record."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from transformers import Gemma3ForConditionalGeneration, Gemma3Processor

from harness.errors import BenchError
from lofi.checkpoint import replace_folder
from lofi.prompt import END
from lofi.vlm.sequences import PROMPT

WEIGHTS = "model.safetensors"


def save_vlm(
    model: Gemma3ForConditionalGeneration,
    processor: Gemma3Processor,
    folder: Path,
    *,
    record: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """Write the directory, whole or not at all; `dtype` casts the weights (bf16 for shipping)."""
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    write_vlm(model, processor, temporary, record=record, dtype=dtype)
    replace_folder(temporary, folder)


def write_vlm(
    model: Gemma3ForConditionalGeneration,
    processor: Gemma3Processor,
    folder: Path,
    *,
    record: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """As `save_vlm`, file by file into this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config.eos_token_id = processor.tokenizer.convert_tokens_to_ids(END)
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    state = {
        name: _cast(value.detach().cpu(), dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    model.save_pretrained(folder, state_dict=state)
    processor.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    (folder / "card.yaml").write_text(yaml.safe_dump(_card(record), sort_keys=False))


def _cast(value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """Counts stay whole numbers."""
    return value.to(dtype) if dtype and value.is_floating_point() else value


def _card(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": record.get("name", "vlm-tiny"),
        "title": "A small multi-image model that grounds phrases after examples",
        "family": "hf_vlm",
        "source": {"url": "bench train vlm-tiny"},
        "licence": "Apache-2.0",
        "trained_on": list(record.get("trained_on", ())),
        "vlm": {
            "prompt": PROMPT,
            "codec": "lists_1000",
            "picture": "pad square",
            "coordinates": "pad square",
            "max_new_tokens": 96,
            "multi_image": True,
            "trained_examples": _examples(record),
        },
        "verified": "real weights",
        "note": "Trained on phantoms only; not for radiographs of people.",
    }


def _examples(record: Mapping[str, Any]) -> int:
    """All turns of a conversation but its last are examples of that one; 0 if it is not told."""
    turns = record.get("settings", {}).get("episodes", {}).get("turns", 1)
    return int(turns) - 1


def load_vlm(folder: Path) -> tuple[Gemma3ForConditionalGeneration, Gemma3Processor]:
    """The model of a directory, in fp32, and its processor."""
    model = Gemma3ForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    return model, Gemma3Processor.from_pretrained(folder, local_files_only=True)


def load_state(model: Gemma3ForConditionalGeneration, folder: Path) -> None:
    """Fill a model with the weights of a directory, bit for bit."""
    stored, _ = load_vlm(folder)
    model.load_state_dict(stored.state_dict())


def parameters_of(folder: Path) -> int:
    """How many numbers the weights hold."""
    return sum(value.numel() for value in load_file(str(folder / WEIGHTS)).values())


def export_vlm(folder: Path, target: Path) -> None:
    """Copy a trained directory with weights in bf16, as a shipped checkpoint.

    Where it started from is told without the folders of the machine that trained it.

    Raises:
        BenchError: it would be larger than the 10 MB a shipped checkpoint may have.
    """
    model, processor = load_vlm(folder)
    record = json.loads((folder / "training.json").read_text())
    record["settings"]["init"] = _shown(record["settings"]["init"])
    save_vlm(model, processor, target, record=record, dtype=torch.bfloat16)
    size = sum(os.path.getsize(file) for file in target.rglob("*") if file.is_file())
    if size > 10_000_000:
        raise BenchError(
            f"{target}: {size / 1e6:.1f} MB. A shipped checkpoint has at most 10 MB. Train a "
            "smaller model, or keep the directory outside the package."
        )


def _shown(start: str) -> str:
    """The folder as seen from here; outside of here its last two names."""
    here = Path.cwd()
    path = Path(start)
    if not path.is_absolute():
        return start
    return str(path.relative_to(here) if path.is_relative_to(here) else Path(*path.parts[-2:]))
