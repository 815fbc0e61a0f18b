"""`bench selfcheck`: the metrics against the independent implementations that are installed."""

import click

from harness.metrics.oracles import ORACLES, ask_oracle, version_of


@click.command("selfcheck")
@click.option("--quiet", is_flag=True, help="Print only what differs.")
@click.option("--log-json", is_flag=True, help="One JSON line per number instead of a table.")
def command(quiet: bool, log_json: bool) -> None:
    """Compare our numbers with those of every oracle that is installed: ours, theirs, difference.

    Exit code 1 if one lies further apart than its tolerance. The oracles that are not installed
    come with: pip install "cxr-bench[oracle]", and clip-benchmark and rodeometric --no-deps.
    """
    rows, missing = _rows()
    if log_json:
        _print_json(rows)
    else:
        _print_table([row for row in rows if not (quiet and row["agrees"])])
        if missing and not quiet:
            click.echo(f"not installed: {', '.join(missing)}")
    wrong = sum(not row["agrees"] for row in rows)
    if not quiet:
        click.echo(f"{len(rows) - wrong} of {len(rows)} numbers agree")
    if wrong:
        raise click.exceptions.Exit(1)


def _rows() -> tuple[list[dict[str, object]], list[str]]:
    rows: list[dict[str, object]] = []
    missing = []
    for name in ORACLES:
        try:
            found = ask_oracle(name)
        except ImportError:
            missing.append(name)
            continue
        for one in found:
            rows.append(
                {
                    "oracle": f"{name} {version_of(name)}".strip(),
                    "metric": one.metric,
                    "ours": one.ours,
                    "theirs": one.theirs,
                    "difference": one.difference,
                    "tolerance": one.tolerance,
                    "agrees": one.agrees,
                }
            )
    return rows, missing


def _print_json(rows: list[dict[str, object]]) -> None:
    import json

    for row in rows:
        click.echo(json.dumps(row))


def _print_table(rows: list[dict[str, object]]) -> None:
    if rows:
        click.echo(f"{'':22}{'ours':>18}{'theirs':>18}{'difference':>12}{'allowed':>9}")
    oracle = None
    for row in rows:
        if row["oracle"] != oracle:
            oracle = row["oracle"]
            click.secho(str(oracle), bold=True)
        line = (
            f"  {row['metric']:<20}{row['ours']:>18.12f}{row['theirs']:>18.12f}"
            f"{row['difference']:>12.1e}{row['tolerance']:>9.0e}"
        )
        click.secho(
            line + ("" if row["agrees"] else "  DIFFERS"), fg=None if row["agrees"] else "red"
        )
