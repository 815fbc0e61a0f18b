"""A report of a run: its files, what stays out of them, who is ranked, which runs are read."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.commands.report import command
from harness.errors import BenchError
from harness.record_file import record_text
from reports.evidence import ranks_of
from reports.leaderboard import write_leaderboard
from reports.report import write_report
from reports.runs import dataset_source, read_runs, runs_folders
from reports.tables import sections

SECRET = "Zebrafinch"


@pytest.fixture(scope="session")
def report(toy_runs, toy_data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    write_report(read_runs([toy_runs]), out, source=dataset_source({"manifest": toy_data}))
    return out


def restrict(runs: Path) -> None:
    """Every record says that its data stand under a use agreement.

    A manifest without labels takes the phrase for the finding; restricted data have a vocabulary
    of findings instead, so those groups go.
    """
    for path in runs.glob("cells/*/record.json"):
        record = json.loads(path.read_text())
        record["dataset"]["restricted"] = True
        scores = record["scores"]
        record["scores"] = [s for s in scores if not s["group"].startswith("finding=")]
        path.write_text(json.dumps(record))


def test_a_report_is_four_files(report):
    names = {"report.html", "report.md", "report.csv", "report.tex"}
    assert {path.name for path in report.iterdir()} == names


def test_the_page_asks_for_nothing_outside_itself(report):
    page = (report / "report.html").read_text()
    addresses = set(re.findall(r"https?://[^\"' <)]+", page))
    assert all(address.startswith("http://www.w3.org/") for address in addresses)  # name spaces
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_the_page_policy_lets_only_its_own_script_run(report):
    page = (report / "report.html").read_text()
    assert "default-src 'none'" in page
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", page)


def test_the_same_runs_give_the_same_bytes(report, toy_runs, toy_data, tmp_path):
    write_report(read_runs([toy_runs]), tmp_path, source=dataset_source({"manifest": toy_data}))
    for path in report.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_restricted_text_and_pixels_stay_out_of_every_file(own_runs, toy_data, tmp_path):
    restrict(own_runs)
    out = tmp_path / "out"
    write_report(read_runs([own_runs]), out, source=dataset_source({"manifest": toy_data}))
    for path in out.iterdir():
        assert SECRET.lower() not in path.read_text().lower(), path.name
    assert "data:image" not in (out / "report.html").read_text()


def test_a_private_report_has_pictures_and_is_stamped(own_runs, toy_data, tmp_path):
    restrict(own_runs)
    source = dataset_source({"manifest": toy_data})
    write_report(read_runs([own_runs]), tmp_path / "out", source=source, private=True)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/jpeg" in page
    assert "Do not publish" in page


def test_unrestricted_data_have_a_dozen_thumbnails_per_table(report):
    assert (report / "report.html").read_text().count("data:image/jpeg") == 24


def test_no_folder_of_the_user_is_printed(report, toy_data):
    for path in report.iterdir():
        assert "/home/x/films" not in path.read_text()
        assert str(toy_data) not in path.read_text()


def test_the_page_says_how_to_reproduce_each_row(report, toy_runs):
    page = (report / "report.html").read_text()
    for record in toy_runs.glob("cells/*/record.json"):
        assert f"bench reproduce RUNS/cells/{record.parent.name}" in page


def test_models_that_cannot_be_told_apart_share_ranks(toy_runs, toy_data):
    runs = read_runs([toy_runs])
    section = next(s for s in sections(runs.records) if s.key.task == "grounding")
    ranks, note = ranks_of(section, runs, dataset_source({"manifest": toy_data}))
    names = {row.record.key: row.model for row in section.panels[0].rows}
    assert note == ""
    # sharp is right on all 48, blunt on two thirds, blunter on half of them
    assert {names[key]: rank for key, rank in ranks.items()} == {
        "sharp": "1",
        "blunt": "2–3",
        "blunter": "2–3",
    }


def test_a_model_that_saw_the_test_data_is_not_ranked(toy_runs, toy_data):
    runs = read_runs([toy_runs])
    leaky = [r for r in runs.records if r.model.name == "leaky"]
    assert {r.exposure for r in leaky} == {"contaminated"}
    for section in sections(runs.records):
        ranks, _ = ranks_of(section, runs, dataset_source({"manifest": toy_data}))
        assert ranks
        assert not {r.key for r in leaky} & set(ranks)


def test_retrieval_is_ranked_without_the_data_and_grounding_says_what_is_missing(toy_runs):
    runs = read_runs([toy_runs])
    found = {s.key.task: ranks_of(s, runs, dataset_source({})) for s in sections(runs.records)}
    assert len(found["retrieval"][0]) == 3
    assert found["grounding"][0] == {}
    assert "its truth" in found["grounding"][1]


def test_other_data_under_the_same_name_are_refused(toy_runs, realcxr):
    runs = read_runs([toy_runs])
    dataset, reason = dataset_source({"manifest": realcxr})(runs.records[0])
    assert dataset is None
    assert "was made on data" in reason


def test_a_folder_of_runs_folders_is_read_as_one(toy_runs, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "toy").symlink_to(toy_runs)
    assert runs_folders([tmp_path / "all"]) == [tmp_path / "all" / "toy"]
    with pytest.raises(BenchError, match="no cells here"):
        read_runs([tmp_path])


def test_skipped_models_come_back_from_the_leaderboard_of_the_run(own_runs, record):
    gone = record(
        "card-1",
        task="grounding",
        status="skipped",
        reason="no weights: bench fetch",
        scores=[],
        data={"name": "manifest", "split": "all", "cohort": "as-given", "fingerprint": ""},
    )
    write_leaderboard([*read_runs([own_runs]).records, gone], own_runs)
    found = {s.key.task: s for s in sections(read_runs([own_runs]).records)}
    absent = [(name, r.reason) for name, r in found["grounding"].absent if r.status == "skipped"]
    assert absent == [("card-1", "no weights: bench fetch")]


def test_published_rows_stand_apart_with_source_and_confidence(report):
    page = (report / "report.html").read_text()
    measured, published = page.split('<section id="published">')
    assert "CARZero" not in measured
    assert "63.98" in published
    assert "not ranked" in published


def test_latex_has_as_many_cells_as_columns(report):
    text = (report / "report.tex").read_text()
    for table in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end", text, re.DOTALL):
        lines = [line for line in table[1].splitlines() if "sharp" in line or "leaky" in line]
        assert lines
        assert all(line.replace(r"\&", "").count("&") == len(table[0]) - 1 for line in lines)


def test_the_command_writes_the_report_and_says_where(toy_runs, tmp_path):
    arguments = [str(toy_runs), "--out", str(tmp_path), "--tables-only"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "report.html (and report.md, report.csv, report.tex)" in done.output
    assert (tmp_path / "report.tex").is_file()


def test_private_is_said_on_the_screen_too(toy_runs, tmp_path):
    arguments = [str(toy_runs), "--out", str(tmp_path), "--tables-only", "--private"]
    assert "do not publish" in CliRunner().invoke(command, arguments).stderr


def test_of_two_folders_with_one_key_the_outcomes_are_those_of_the_record_kept(
    toy_runs, own_runs
) -> None:
    cell = next(own_runs.glob("cells/retrieval-*-sharp-*"))
    good = read_runs([toy_runs])
    (whole,) = [r for r in good.records if r.task == "retrieval" and r.model.name == "sharp"]
    failed = whole.model_copy(update={"status": "failed", "scores": [], "outcomes": {}})
    (cell / "record.json").write_text(record_text(failed))
    for folders in ([own_runs, toy_runs], [toy_runs, own_runs]):
        runs = read_runs(folders)
        (record,) = [r for r in runs.records if r.key == whole.key]
        assert record.status == "ok"
        assert runs.homes[record.key] == toy_runs
