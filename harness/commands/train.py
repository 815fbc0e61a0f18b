"""`bench train PRESET`: LoFi from settings to a directory that `bench run` evaluates."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from harness.commands.options import data_option, output_options
from harness.errors import BenchError

_FOLDER = click.Path(path_type=Path)


@click.command("train")
@click.argument("preset")
@data_option
@click.option("--out", type=_FOLDER, help="Folder (default: runs/train-PRESET).")
@click.option("-o", "overrides", multiple=True, metavar="A.B=C", help="Override a setting.")
@click.option("--limit", type=click.IntRange(min=2), help="Only the first N training studies.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, mps or auto.")
@click.option("--seed", type=int, help="Instead of the preset's seed.")
@click.option("--models", default="", hidden=True, help="Unused; the preset names the model.")
@click.option("--track", default="", metavar="NAME", help="Also log to this accelerate tracker.")
@click.option("--restart", is_flag=True, help="Forget the checkpoints in the folder.")
@click.option("--export", type=_FOLDER, help="At the end also write the best model here, in bf16.")
@output_options
def command(
    preset: str,
    data: Sequence[str],
    out: Path | None,
    overrides: Sequence[str],
    limit: int | None,
    device: str,
    seed: int | None,
    models: str,
    track: str,
    restart: bool,
    export: Path | None,
    quiet: bool,
    log_json: bool,
) -> None:
    """Train PRESET (lofi-tiny, lofi-small, lofi-paper, vlm-tiny, ... or a YAML file of settings).

    A killed training goes on from its last checkpoint when the same command is run again. Several
    processes: accelerate launch -m harness.cli train PRESET.
    """
    from harness.roots import data_roots
    from lofi.fit import Fit

    del models
    values = {**_overrides(overrides), **({} if seed is None else {"training.seed": seed})}
    folder = out or Path("runs") / f"train-{Path(preset).stem}"
    wanted = Fit(
        preset=preset,
        overrides=values,
        roots=data_roots(data),
        folder=folder,
        limit=limit,
        device=device,
        tracker=track,
        restart=restart,
    )
    fit, exported, suite = _training_of(preset)
    progress = fit(wanted, say=_voice(quiet=quiet, log_json=log_json))
    if export is not None:
        exported(folder / "best", export)
        click.echo(f"exported {export}")
    click.echo(
        f"trained {progress.step} steps: {folder / 'best'}. Evaluate it: bench run "
        f"suites/{suite}.yaml --models {folder / 'best'}"
    )


def _training_of(preset: str) -> tuple[Any, Any, str]:
    """What trains a preset, what exports the result, and the suite that evaluates it."""
    from lofi.vlm.config import preset_names

    if preset in preset_names():
        from lofi.vlm.fit import fit_vlm
        from lofi.vlm.save import export_vlm

        return fit_vlm, export_vlm, "grounding"
    from lofi.fit import export, fit

    return fit, export, "retrieval"


def _overrides(given: Sequence[str]) -> Mapping[str, Any]:
    out = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise BenchError(f"-o {one!r}: found no '='. Expected A.B=C, as training.steps=100.")
        out[name] = yaml.safe_load(value)
    return out


def _voice(*, quiet: bool, log_json: bool) -> Any:
    if log_json:
        return lambda text: click.echo(json.dumps({"message": text}), err=True)
    return (lambda _: None) if quiet else (lambda text: click.echo(text, err=True))
