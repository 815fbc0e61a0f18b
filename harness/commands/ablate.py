"""`bench ablate`: seed-matched arms, each measured, and a report of what each loss is worth."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.commands.ablate_run import Chosen, ablate
from harness.commands.ablate_suite import asked_for
from harness.commands.options import data_option, output_options
from harness.executors import Kind

_FOLDER = click.Path(path_type=Path)


@click.command("ablate")
@click.argument("suite", required=False)
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="LOSS",
    help="Leave it out: sigmoid, captioning, location, grounding or dense-captioning. Repeatable.",
)
@click.option("--all", "every", is_flag=True, help="Leave each loss out, one at a time.")
@click.option(
    "--change", "changes", multiple=True, metavar="A.B=C", help="An arm with this setting."
)
@click.option("-o", "overrides", multiple=True, metavar="A.B=C", help="A setting of all arms.")
@click.option("--seeds", default="", metavar="0,1,2", help="Training seeds (default: 0,1,2).")
@click.option("--seed", type=int, help="One seed, as --seeds N.")
@click.option("--steps", type=click.IntRange(min=4), help="Of every arm (default: the preset's).")
@click.option("--budget", default="", metavar="20m", help="As many steps as fit: 90s, 20m, 8h.")
@click.option("--preset", default="", help="The full configuration (default: lofi-tiny).")
@click.option(
    "--representation-steps",
    type=click.IntRange(min=0),
    help="Of the decoder on each frozen encoder; 0 leaves this measure out.",
)
@click.option("--captioning", is_flag=True, help="Also score reports and dense captions.")
@click.option("--models", default="", metavar="A,B", help="Only these arms, and the full one.")
@data_option
@click.option("--limit", type=click.IntRange(min=2), help="Only the first N studies, everywhere.")
@click.option("--out", type=_FOLDER, help="Folder (default: runs/NAME).")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option(
    "--executor",
    type=click.Choice(["local", "processes", "slurm"]),
    default="local",
    show_default=True,
    help="Arms one by one, over processes, or as Slurm jobs.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Arms at a time (default: all cores).")
@click.option("--report-only", is_flag=True, help="Report what is finished; train nothing.")
@output_options
def command(
    suite: str | None,
    losses: Sequence[str],
    every: bool,
    changes: Sequence[str],
    overrides: Sequence[str],
    seeds: str,
    seed: int | None,
    steps: int | None,
    budget: str,
    preset: str,
    representation_steps: int | None,
    captioning: bool,
    models: str,
    data: Sequence[str],
    limit: int | None,
    out: Path | None,
    device: str,
    executor: Kind,
    workers: int | None,
    report_only: bool,
    log_json: bool,
    quiet: bool,
) -> None:
    """What is each loss worth? Arms from the same seeds and batches, and their paired differences.

    SUITE is a YAML file of an ablation (suites/ablation.yaml); without one the arms are those of
    --loss, --all and --change beside the full preset. A finished arm is not trained again and a
    killed one goes on: run the same command.
    """
    wanted = asked_for(
        suite,
        losses=[*losses, *(["all"] if every else [])],
        changes=changes,
        overrides=overrides,
        seeds=seeds if seed is None else str(seed),
        named={
            "steps": steps,
            "preset": preset or None,
            "limit": limit,
            "representation_steps": representation_steps,
            "captioning": captioning or None,
        },
    )
    chosen = Chosen(
        arms=tuple(name for name in models.split(",") if name),
        out=out or Path("runs") / wanted.ablation,
        data=tuple(data),
        device=device,
        executor=executor,
        workers=workers or 0,
        budget=budget,
        report_only=report_only,
        quiet=quiet,
        log_json=log_json,
    )
    ablate(wanted, chosen)
