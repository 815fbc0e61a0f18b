"""Tiny random checkpoints of every family, written by the libraries' own `save_pretrained`.

They know nothing; they show that each family's real code path runs, from card to row.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from harness.errors import BenchError, unknown

# Name -> "module:function", called with a folder: writes weights, returns what the card says.
WRITERS: Mapping[str, str] = {
    "tiny-openclip": "baselines.tiny_duals:write_openclip",
    "tiny-openclip-bert": "baselines.tiny_duals:write_openclip_bert",
    "tiny-siglip": "baselines.tiny_duals:write_siglip",
    "tiny-clip": "baselines.tiny_duals:write_clip",
    "tiny-dino": "baselines.tiny_duals:write_dino",
    "tiny-tips": "baselines.tiny_duals:write_tips",
    "tiny-biovil-t": "baselines.tiny_checkpoints:write_biovil",
    "tiny-cxr-clip": "baselines.tiny_checkpoints:write_cxr_clip",
    "tiny-carzero": "baselines.tiny_checkpoints:write_carzero",
    "tiny-medklip": "baselines.tiny_checkpoints:write_medklip",
    "tiny-gemma": "baselines.tiny_vlms:write_gemma",
    "tiny-qwen2.5-vl": "baselines.tiny_vlms:write_qwen25",
    "tiny-qwen3-vl": "baselines.tiny_vlms:write_qwen3",
    "tiny-internvl": "baselines.tiny_layouts:write_internvl",
    "tiny-llava-onevision": "baselines.tiny_layouts:write_llava_onevision",
    "tiny-paligemma": "baselines.tiny_layouts:write_paligemma",
    "tiny-florence": "baselines.tiny_layouts:write_florence",
    "tiny-grounding-dino": "baselines.tiny_detectors:write_grounding_dino",
    "tiny-owlv2": "baselines.tiny_detectors:write_owlv2",
    "tiny-external": "baselines.tiny_external:write_external",
}


def write_tiny_models(out: Path, names: Sequence[str] = ()) -> list[Path]:
    """Folders, one per model, each with weights and a `card.yaml`; suites name them by path.

    Raises:
        BenchError: an unknown name, or a folder of that name that holds something else.
    """
    unasked = [name for name in names if name not in WRITERS]
    if unasked:
        raise unknown("tiny model", unasked[0], WRITERS)
    return [_write(out / name, WRITERS[name]) for name in names or WRITERS]


def write_tiny_suite(out: Path) -> Path:
    """A suite over all of them, on phantoms: a row for every family."""
    suite = {
        "suite": "tiny",
        "title": "Tiny random models of every family",
        "models": [{"name": name, "use": str((out / name).resolve())} for name in WRITERS],
        "evaluations": [
            {"task": "retrieval", "dataset": "mimic-cxr", "split": "test"},
            {
                "task": "grounding",
                "dataset": "ms-cxr",
                "split": "test",
                "options": {"calibration_phrases": 20},
            },
        ],
    }
    file = out / "tiny.yaml"
    file.write_text(yaml.safe_dump(suite, sort_keys=False), encoding="utf-8")
    return file


def _write(folder: Path, writer: str) -> Path:
    card_file = folder / "card.yaml"
    if card_file.exists():
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise BenchError(f"{folder}: is not empty and no tiny model. Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    import torch

    from baselines.offline import go_offline

    go_offline()  # and no progress bars

    module, _, function = writer.partition(":")
    write: Callable[[Path], dict[str, Any]] = getattr(import_module(module), function)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        said = write(folder)
    card_file.write_text(_card_text(folder.name, said), encoding="utf-8")
    return folder


def _card_text(name: str, said: dict[str, Any]) -> str:
    """The card; written last, so that a folder with a card is a whole model."""
    source = {"url": "written by bench data tiny-models", **said.pop("source", {})}
    card = {
        "name": name,
        "title": f"{name}: random weights that know nothing",
        "source": source,
        "licence": "Apache-2.0",
        "trained_on": [],
        "verified": "tiny random",
        **said,
    }
    return yaml.safe_dump(card, sort_keys=False)
