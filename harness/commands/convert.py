"""`bench convert CHECKPOINT OUT`: a released LoFi checkpoint as a directory to evaluate."""

import json
from pathlib import Path

import click

from harness.commands.options import output_options

_PATH = click.Path(path_type=Path)
_SUITES = {  # loss -> the suite that asks for what it teaches
    "sigmoid": "retrieval",
    "captioning": "captioning",
    "grounding": "grounding",
    "dense_captioning": "captioning",
}


@click.command("convert")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=_PATH)
@click.option(
    "--encoder", default="", help="Base encoder: folder or hub name (default: as stored)."
)
@click.option(
    "--decoder", default="", help="Base decoder: folder or hub name (default: as stored)."
)
@click.option("--gguf-file", default="", help="The decoder's file, if its folder holds GGUF.")
@click.option(
    "--losses",
    default="",
    metavar="A,B",
    help="What it was taught, of sigmoid, captioning, grounding, dense-captioning (default: what "
    "it shows, else all four).",
)
@output_options
def command(
    checkpoint: Path,
    out: Path,
    encoder: str,
    decoder: str,
    gguf_file: str,
    losses: str,
    log_json: bool,
    quiet: bool,
) -> None:
    """Write CHECKPOINT (last.pt of a released LoFi or LoFi-MedG) as the directory OUT.

    Nothing in the file is executed. Keys that find no place are listed. What a loss left out would
    have taught is printed as not taught, not scored.
    """
    from lofi.convert_directory import convert, named_losses, spelled

    found = convert(
        checkpoint,
        out,
        encoder=encoder,
        decoder=decoder,
        gguf_file=gguf_file,
        losses=named_losses(losses) if losses else (),
    )
    for name in found.unmatched:
        if log_json:
            click.echo(json.dumps({"unmatched": name}), err=True)
        elif not quiet:
            click.echo(name, err=True)
    taught = found.model.config.losses.active()
    suites = dict.fromkeys(_SUITES[loss] for loss in taught)
    runs = "; ".join(f"bench run suites/{suite}.yaml --models {out}" for suite in suites)
    click.echo(
        f"{out}: {len(found.unmatched)} keys unmatched. Taught {', '.join(spelled(taught))} "
        f"({found.losses_from}). Evaluate it: {runs}"
    )
