"""The command line: a lazy table of commands, so that `bench --help` imports nothing but click."""

import errno
import importlib
import sys

import click

from harness.errors import BenchError, printable

# command -> (module with a click command named `command`, one line of help)
COMMANDS = {
    "run": ("harness.commands.run", "Run a suite: models x evaluations -> leaderboard."),
    "train": ("harness.commands.train", "Train LoFi from a preset."),
    "ablate": ("harness.commands.ablate", "What is each loss worth: seed-matched arms, a report."),
    "report": ("harness.commands.report", "One self-contained page and tables from a runs folder."),
    "compare": ("harness.commands.compare", "Is the difference between two models real?"),
    "view": ("harness.commands.view", "Look at samples, boxes and retrieved texts in a browser."),
    "score": ("harness.commands.score", "Recompute metrics from stored outcomes, without a model."),
    "reproduce": ("harness.commands.reproduce", "Run a record again and compare."),
    "check": ("harness.commands.check", "Does a model keep its promises?"),
    "predict": ("harness.commands.predict", "Boxes and nearest reports for one image."),
    "list": ("harness.commands.list", "Models, datasets, metrics, tasks."),
    "data": ("harness.commands.data", "Check trees, render phantoms, draw contact sheets."),
    "convert": ("harness.commands.convert", "Read a released LoFi checkpoint."),
    "fetch": ("harness.commands.fetch", "Download the weights a suite needs, if allowed."),
    "status": ("harness.commands.status", "How far a run is, and whether its folder is sound."),
    "export": ("harness.commands.export", "Hugging Face, COCO and Parquet exports."),
    "selfcheck": ("harness.commands.selfcheck", "Metrics against independent implementations."),
    "completion": ("harness.commands.completion", "Shell completion for bash, zsh or fish."),
}


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a write's, whatever wrote


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The table's order: what one does first stands first."""
        del ctx
        return [name for name in COMMANDS if _exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for an unknown name."""
        del ctx
        if cmd_name not in COMMANDS or not _exists(cmd_name):
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a near name for an unknown one."""
        from harness.errors import unknown

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each from the table: importing all commands for their help would be slow."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


def _exists(name: str) -> bool:
    from pathlib import Path

    return (Path(__file__).parent / "commands" / f"{name}.py").is_file()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cxr-bench", prog_name="bench")
def cli() -> None:
    """Benchmark chest X-ray vision-language models: retrieval, grounding, training ablations."""


def main() -> None:
    """The `bench` command: a user's mistake is printed without a traceback and exits 2."""
    try:
        cli(standalone_mode=False)
    except BenchError as error:
        click.echo(f"bench: {printable(str(error))}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "bench: stopped; what is finished is kept, run the same command to go on.", err=True
        )
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (*_FULL, errno.EIO):
            raise
        click.echo(f"bench: {printable(_disk_trouble(error))}", err=True)
        sys.exit(2)


def _disk_trouble(error: OSError) -> str:
    named = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.EIO:  # a read's or a write's: the number does not say
        found, advice = f"the disk is failing{named}", "Check it"
    else:
        found, advice = f"the disk or quota is full{named}", "Free some space"
    return (
        f"{found}; what is finished is kept. {advice}, or name another folder (--out; BENCH_CACHE "
        "for caches), then run the same command again."
    )


if __name__ == "__main__":
    main()
