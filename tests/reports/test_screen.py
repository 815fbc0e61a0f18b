import io

import pytest
from rich.console import Console

from reports.leaderboard import print_leaderboard


def screen(records, width=110) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_leaderboard(records, console)
    return console.file.getvalue()


def test_the_screen_shows_both_directions_and_failures_with_their_reason(record):
    gone = record("beta", status="out_of_memory", reason="needs 90 GB", scores=[])
    text = screen([record(), gone])
    assert "Image→Text" in text
    assert "Text→Image" in text
    assert "✗ beta" in text
    assert "out of memory: needs 90 GB" in text


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_screen(record, width):
    long = record("a-model-with-a-really-long-name-that-goes-on-and-on")
    lines = screen([record(), long], width).splitlines()
    assert max(len(line) for line in lines) <= width


def test_skipped_published_models_are_one_line(record):
    gone = [record(f"card-{i}", status="skipped", reason="no weights", scores=[]) for i in range(6)]
    lines = [line for line in screen([record(), *gone]).splitlines() if "card-" in line]
    assert len(lines) == 1
    assert lines[0].startswith("6 models skipped: card-0, card-1, card-2, card-3 and 2 more.")


def test_answers_that_could_not_be_read_are_counted_below_the_table(record):
    text = screen([record("alpha", counts={"malformed": 14.0}), record("beta")])
    assert "answers that could not be read, scored as wrong: alpha 14\n" in text
    assert "could not be read" not in screen([record("alpha", counts={"malformed": 0.0})])


def test_brackets_in_a_name_are_no_console_markup(record):
    assert "[red]x[/red]" in screen([record("[red]x[/red]")])


def test_what_many_rows_lack_is_said_once(record):
    reason = "no folder is set"
    rows = [
        record(name, status="skipped", reason=reason, scores=[], card={"control": True})
        for name in ("nothing", "chance")
    ]
    text = screen(rows)
    assert text.count(reason) == 1
    assert "chance, nothing" in text or "nothing, chance" in text
