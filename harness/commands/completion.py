"""`bench completion SHELL`: the script that completes commands and options."""

import click
from click.shell_completion import get_completion_class

from harness.commands.options import output_options


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@output_options
def command(shell: str, log_json: bool, quiet: bool) -> None:
    """Print the completion script: eval "$(bench completion bash)"."""
    from harness.cli import cli

    del log_json, quiet  # the script is the result, and there is nothing else
    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"click has no completion for {shell}")
    click.echo(complete(cli, {}, "bench", "_BENCH_COMPLETE").source())
