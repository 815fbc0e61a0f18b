"""`bench data`: check a tree, render phantoms, draw a contact sheet, make tiny models."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import output_options, row_options
from harness.commands.rows import print_rows

if TYPE_CHECKING:
    from harness.datasets.checks import Check

# root -> the dataset whose check looks at it
_CHECKED_BY = {
    "mimic-cxr": "mimic-cxr",
    "mimic-cxr-jpg": "mimic-cxr",
    "ms-cxr": "ms-cxr",
    "cxr-qba": "cxr-qba",
    "padchest-gr": "padchest-gr",
    "manifest": "manifest",
    "open-i": "open-i",
}
_STYLES = {"ok": "green", "note": "yellow", "problem": "red"}


@click.group()
def command() -> None:
    """Check data trees, render phantoms, draw contact sheets."""


@command.command("check")
@click.argument("trees", nargs=-1, required=True, metavar="NAME=PATH...")
@click.option("--all", "thorough", is_flag=True, help="Read every image and report, not a sample.")
@row_options("Print only the problems.")
def check(trees: Sequence[str], thorough: bool, log_json: bool, quiet: bool) -> None:
    """Verify data trees: versions, counts beside the published ones, splits, unreadable images.

    Trees set in the environment are used too: MS-CXR's images lie in mimic-cxr-jpg. Exits 1 if
    there is a problem.
    """
    from harness.roots import data_roots, parse_data_flags

    roots = data_roots(trees)
    asked = dict.fromkeys(_CHECKED_BY.get(name, name) for name in parse_data_flags(trees))
    problems = 0
    for name in asked:
        checks = run_check(name, roots, thorough=thorough)
        problems += sum(line.level == "problem" for line in checks)
        shown = [line for line in checks if line.level == "problem" or not quiet]
        dataset = {"dataset": name} if log_json else {}
        rows = ({**dataset, **_row(line)} for line in shown)
        print_rows(rows, log_json=log_json, title=name, styles=_STYLES)
    if problems:
        if not log_json:
            click.echo(f"{problems} problem(s)")
        raise SystemExit(1)


def run_check(name: str, roots: Mapping[str, Path], *, thorough: bool = False) -> list["Check"]:
    """The lines for one dataset; what makes it unreadable is a line too, so that others follow."""
    from harness.datasets.checks import Check
    from harness.datasets.table import DATASETS, check_function
    from harness.errors import BenchError

    function = check_function(DATASETS[name]) if name in DATASETS else None
    if function is None:
        return [Check("ok", "recognized", str(roots[name]), "read only by cohorts and training")]
    try:
        checks: list[Check] = function(roots, thorough=thorough)
    except BenchError as error:
        return [Check("problem", "refused", str(error))]
    return checks


def _row(line: "Check") -> dict[str, str]:
    return {
        "level": line.level,
        "what": line.what,
        "found": line.found,
        "expected": line.expected,
    }


@command.command("phantom")
@click.argument("dataset")
@click.argument(
    "split", type=click.Choice(["train", "validation", "test", "pooled-eval", "all", "large"])
)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Instead of the cache.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Only the first N studies.")
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Processes.")
@output_options
def phantom(
    dataset: str,
    split: str,
    *,
    out: Path | None,
    limit: int | None,
    workers: int | None,
    log_json: bool,
    quiet: bool,
) -> None:
    """Render a split of a dataset's phantom twin and print where its trees lie.

    DATASET is mimic-cxr, ms-cxr, cxr-qba, padchest-gr, or a variant: lesion, mimic-rendering,
    mimic-wording.
    """
    from harness.cache_root import cache_root
    from harness.commands.progress import RunProgress
    from harness.phantom.cache import ensure_phantom

    folder = out or cache_root() / "phantom"
    with RunProgress(quiet=quiet, log_json=log_json) as told:
        roots = ensure_phantom(
            dataset,
            split,
            folder,
            workers=workers,
            limit=limit,
            progress=lambda done, total: told.progress("rendering phantoms", done, total),
        )
    for name, path in roots.items():
        click.echo(f"{name}={path}")


@command.command("sheet")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("sheet.png"), show_default=True
)
@click.option("--studies", type=click.IntRange(min=2), default=8, help="Per rendering.")
@click.option("--columns", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--bare", is_flag=True, help="Draw no boxes.")
@click.option(
    "--real",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="A manifest folder: a row of its films stands below the phantoms.",
)
@output_options
def sheet(
    out: Path,
    *,
    studies: int,
    columns: int,
    bare: bool,
    real: Path | None,
    log_json: bool,
    quiet: bool,
) -> None:
    """Draw a contact sheet of phantoms in both renderings, with boxes, beside real films.

    Boxes: yellow exact, blue reader 1, pink reader 2.
    """
    from harness.commands.sheet import draw_sheet

    del log_json, quiet  # there is one line, and it is the result
    picture = draw_sheet(studies=studies, columns=columns, boxed=not bare, real=real)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(out)
    click.echo(str(out))


@command.command("tiny-models")
@click.argument("out", type=click.Path(path_type=Path))
@output_options
def tiny_models(out: Path, *, log_json: bool, quiet: bool) -> None:
    """Write tiny models with random weights, to try every loading family without a download."""
    from importlib import import_module

    # By name: harness imports no model code, the command line alone brings the rooms together.
    tiny = import_module("baselines.tiny")
    for path in tiny.write_tiny_models(out):
        if log_json:
            click.echo(json.dumps({"written": str(path)}), err=True)
        elif not quiet:
            click.echo(str(path))
    click.echo(f"a row for every family: bench run {tiny.write_tiny_suite(out)} --limit 8")
