"""From a preset to a trained small multi-image model in the hub's format."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.datasets.training import TrainingSet
from lofi.fit import Fit, account_of
from lofi.train import Progress, forget
from lofi.vlm.build import build, fit_projector, starting_point
from lofi.vlm.config import VlmConfig, read_vlm_preset
from lofi.vlm.read import Pool, read_pool
from lofi.vlm.tower import MapHead, map_quality, teach_tower
from lofi.vlm.train import VlmRun

Say = Callable[[str], None]
TOWER = "tower.safetensors"
_PROJECTED = 256  # images the projector's start is fitted on


def fit_vlm(wanted: Fit, say: Say = print) -> Progress:
    """Train to the end (or go on) and leave `best`, `model` and the log in the folder."""
    config = read_vlm_preset(wanted.preset, wanted.overrides)
    if wanted.restart:
        forget(wanted.folder)
        (wanted.folder / TOWER).unlink(missing_ok=True)
    read = partial(read_pool, config.data, roots=wanted.roots, size=config.tower.side, say=say)
    pool, source = read("train", limit=wanted.limit)
    held_out, _ = read("validation", limit=config.training.validation_studies)
    parts, maps = _start(config, (pool, held_out), wanted.folder, say)
    run = VlmRun(
        parts,
        config,
        (pool, held_out),
        folder=wanted.folder,
        maps=maps,
        say=say,
        device=_device(wanted.device),
    )
    run.account = _account(source, pool, held_out, config)
    return run.to_the_end()


def _start(
    config: VlmConfig, pools: tuple[Pool, Pool], folder: Path, say: Say
) -> tuple[tuple[Any, Any], MapHead]:
    """The model and its processor, its tower already taught, and what reads maps from it."""
    pool, held_out = pools
    lofi = starting_point(config, [p.text for phrases in pool.phrases for p in phrases])
    seed = config.training.seed
    parts = build(lofi, config.tower, extra_layers=config.extra_layers, seed=seed)
    tower = parts[0].model.vision_tower
    tokens = parts[1].image_seq_length
    maps = MapHead(config.tower.widths[-1], len(pool.by_finding), tokens, config.tower.cells)
    teach_tower(
        tower,
        maps,
        pool,
        settings=config.tower,
        changes=config.changes,
        file=folder / TOWER,
        say=say,
    )
    areas = map_quality(tower, maps, pool, held_out)
    say("tower, area under the curve: " + "  ".join(f"{k} {v:.3f}" for k, v in areas.items()))
    share = fit_projector(parts[0], lofi, pool.squares[pool.rows[:_PROJECTED]])
    share = share if config.init else 0.0
    count = sum(value.numel() for value in parts[0].parameters())
    say(f"{config.name}: {count / 1e6:.2f} M parameters, projector fitted to {share:.2f}")
    return parts, maps


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def _account(source: TrainingSet, pool: Pool, held_out: Pool, config: VlmConfig) -> dict[str, Any]:
    seen = [{"dataset": account_of(source)["dataset"], "split": "train", "modality": "images"}]
    seen.append({**seen[0], "modality": "boxes"})
    if config.init:  # the LoFi it starts from has read the reports
        seen.append({**seen[0], "modality": "reports"})
    return {
        "source": account_of(source),
        "images": len(pool),
        "validation_images": len(held_out),
        "findings": {name: len(images) for name, images in pool.by_finding.items()},
        "trained_on": seen,
    }
