"""`bench train PRESET`: LoFi from settings to a directory that `bench run` evaluates."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.options import data_option, output_options
from harness.datasets.table import dataset_spec
from harness.errors import BenchError
from harness.hidden import message_hidden
from harness.lock import RunLock
from harness.suite_yaml import parse_value

if TYPE_CHECKING:
    from lofi.fit import Fit

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
    kind = _kind_of(preset)
    with _alone(wanted, kind):
        progress = kind.fit(wanted, say=_voice(quiet=quiet, log_json=log_json))
        if export is not None:
            kind.export(folder / "best", export)
            click.echo(f"exported {export}")
    click.echo(
        f"trained {progress.step} steps: {folder / 'best'}. Evaluate it: bench run "
        f"suites/{kind.suite(wanted)}.yaml --models {folder / 'best'}"
    )


@dataclass(frozen=True)
class _Kind:
    """What reads a preset, trains it, exports the result, and the suite that evaluates that."""

    read: Callable[..., Any]
    fit: Callable[..., Any]
    export: Callable[[Path, Path], Any]
    suite: Callable[["Fit"], str]
    many: bool  # whether several processes can share its training


def _kind_of(preset: str) -> _Kind:
    from lofi.vlm.config import preset_names, read_vlm_preset

    if preset in preset_names():
        from lofi.vlm.fit import fit_vlm
        from lofi.vlm.save import export_vlm

        return _Kind(read_vlm_preset, fit_vlm, export_vlm, lambda _: "grounding", many=False)
    from lofi.config import read_preset
    from lofi.fit import export, fit

    return _Kind(read_preset, fit, export, _suite_of, many=True)


def _suite_of(wanted: "Fit") -> str:
    """The first suite that asks for something the preset teaches."""
    from lofi.config import read_preset

    taught = read_preset(wanted.preset, wanted.overrides).losses.active()
    asks = {"sigmoid": "retrieval", "grounding": "grounding"}
    return next((asks[loss] for loss in taught if loss in asks), "captioning")


@contextmanager
def _alone(wanted: "Fit", kind: _Kind) -> Iterator[None]:
    """One training in the folder; the first process of several holds it for all.

    Raises:
        BenchError: another training is at work there, or several processes that cannot share it.
            Private data: instead of an error whose message could quote them.
    """
    world, rank = os.environ.get("WORLD_SIZE") or "1", os.environ.get("RANK") or "0"
    if world != "1" and not kind.many:
        raise BenchError(
            f"train {wanted.preset}: found {world} processes. Expected one: each would train the "
            "whole model into the same folder. Run it without accelerate launch or torchrun."
        )
    data = kind.read(wanted.preset, wanted.overrides).data
    private = dataset_spec(data.dataset).is_private(wanted.roots)
    lock = RunLock(wanted.folder / ".lock") if rank == "0" else nullcontext()
    with lock, message_hidden(f"train {wanted.preset}", private=private):
        yield


def _overrides(given: Sequence[str]) -> Mapping[str, Any]:
    out = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise BenchError(f"-o {one!r}: found no '='. Expected A.B=C, as training.steps=100.")
        out[name] = parse_value(value)
    return out


def _voice(*, quiet: bool, log_json: bool) -> Any:
    if log_json:
        return lambda text: click.echo(json.dumps({"message": text}), err=True)
    return (lambda _: None) if quiet else (lambda text: click.echo(text, err=True))
