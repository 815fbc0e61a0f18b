"""`bench convert CHECKPOINT OUT`: a released LoFi checkpoint as a directory to evaluate."""

import json
from pathlib import Path

import click

from harness.commands.options import output_options

_PATH = click.Path(path_type=Path)


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
@output_options
def command(
    checkpoint: Path,
    out: Path,
    encoder: str,
    decoder: str,
    gguf_file: str,
    log_json: bool,
    quiet: bool,
) -> None:
    """Write CHECKPOINT (last.pt of a released LoFi or LoFi-MedG) as the directory OUT.

    Nothing in the file is executed. Keys that find no place are listed.
    """
    from lofi.convert_directory import convert

    found = convert(checkpoint, out, encoder=encoder, decoder=decoder, gguf_file=gguf_file)
    for name in found.unmatched:
        if log_json:
            click.echo(json.dumps({"unmatched": name}), err=True)
        elif not quiet:
            click.echo(name, err=True)
    click.echo(
        f"{out}: {len(found.unmatched)} keys unmatched. Evaluate it: bench run "
        f"suites/retrieval.yaml --models {out}"
    )
