"""The command line as a shell meets it."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import BenchError


def test_help_names_every_command_and_imports_no_torch() -> None:
    code = (
        "import sys, harness.cli\n"
        "try: harness.cli.cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["rnu"])
    assert isinstance(result.exception, BenchError)
    assert "Did you mean 'run'?" in str(result.exception)


@pytest.mark.parametrize("name", sorted(cli.list_commands(None)))
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output
