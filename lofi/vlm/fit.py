"""From a preset to a trained small multi-image model in the hub's format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from harness.datasets.training import TrainingSet
from lofi.fit import Fit, account_of
from lofi.model import LofiModel
from lofi.picture import to_input
from lofi.stem import stem_of
from lofi.train import Progress, forget
from lofi.vlm.build import build, fit_projector, starting_point
from lofi.vlm.config import VlmConfig, read_vlm_preset
from lofi.vlm.read import Pool, read_pool
from lofi.vlm.tower import explained, imitating_tower
from lofi.vlm.train import VlmRun

Say = Callable[[str], None]
_PROJECTED = 256  # images the projector's start is fitted on


def fit_vlm(wanted: Fit, say: Say = print) -> Progress:
    """Train to the end (or go on) and leave `best`, `model` and the log in the folder."""
    config = read_vlm_preset(wanted.preset, wanted.overrides)
    if wanted.restart:
        forget(wanted.folder)
    size = _size(config)
    pool, source = read_pool(
        config.data, "train", wanted.roots, size=size, limit=wanted.limit, say=say
    )
    held_out, _ = read_pool(
        config.data,
        "validation",
        wanted.roots,
        size=size,
        limit=config.training.validation_studies,
        say=say,
    )
    run = VlmRun(
        _start(config, pool, wanted.folder, say),
        config,
        (pool, held_out),
        folder=wanted.folder,
        say=say,
        device=_device(wanted.device),
    )
    run.account = _account(source, pool, held_out, config)
    return run.to_the_end()


def _size(config: VlmConfig) -> int:
    if config.init:
        return starting_point(config, []).towers.config.vision_config.image_size
    from lofi.config import read_preset

    return read_preset(config.fresh).towers.image_size


def _start(config: VlmConfig, pool: Pool, folder: Path, say: Say) -> tuple[Any, Any]:
    lofi = starting_point(config, [p.text for phrases in pool.phrases for p in phrases])
    tower = None
    if stem_of(lofi.towers) == "convolutions":
        file = folder / "tower.safetensors"
        tower = imitating_tower(lofi, pool.squares, settings=config.imitation, file=file, say=say)
        share = explained(tower, lofi, pool.squares[:_PROJECTED])
        say(f"tower: {share:.2f} of the teacher explained")
    parts = build(lofi, extra_layers=config.extra_layers, seed=config.training.seed, tower=tower)
    share = fit_projector(parts[0], lofi, _pixels(pool, lofi)) if config.init else 0.0
    count = sum(value.numel() for value in parts[0].parameters())
    say(f"{config.name}: {count / 1e6:.2f} M parameters, projector fitted to {share:.2f}")
    return parts


def _pixels(pool: Pool, lofi: LofiModel) -> torch.Tensor:
    squares = to_input(pool.squares[pool.rows[:_PROJECTED]])
    channels = lofi.towers.config.vision_config.num_channels
    return torch.from_numpy(squares)[:, None].expand(-1, channels, -1, -1)


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
