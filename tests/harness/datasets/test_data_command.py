import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
from click.testing import CliRunner, Result

from harness.commands.data import command
from harness.datasets.counts import dataset_rows
from tests.harness.datasets.conftest import (
    MimicTrees,
    PadChestTree,
    answer,
    dicom_id,
    sentence,
    write_film,
)
from tests.harness.datasets.conftest import write_qba as write_questions

A, B = ("10000001", "50000001"), ("10000002", "50000002")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), env={"COLUMNS": "200"})


def check(roots: dict[str, Path], *more: str) -> Result:
    return run("check", *(f"{name}={path}" for name, path in roots.items()), *more)


@pytest.fixture
def sound(mimic: MimicTrees) -> MimicTrees:
    mimic.add(*A, 1, split="train")
    mimic.add(*B, 2)
    return mimic


def test_a_sound_tree_passes_and_stands_beside_the_published_counts(sound: MimicTrees) -> None:
    result = check(sound.write())
    assert result.exit_code == 0, result.output
    assert "test studies" in result.output
    assert "3,269" in result.output
    assert "general rules (54 studies differ)" in result.output


def test_missing_and_unreadable_images_and_missing_reports_are_problems(
    sound: MimicTrees,
) -> None:
    sound.add("10000003", "50000003", 3, film=False)
    sound.add("10000004", "50000004", 4, report=None)
    roots = sound.write()
    broken = next((sound.jpg / "files").rglob("*.jpg"))
    broken.write_bytes(broken.read_bytes()[:200])
    result = check(roots, "--all")
    assert result.exit_code == 1
    for part in ("missing image files", "unreadable images", broken.name, "missing reports"):
        assert part in result.output.replace("\n", "")
    assert "3 problem(s)" in result.output


def test_a_damaged_table_is_a_problem_and_the_next_tree_is_still_checked(
    sound: MimicTrees, padchest: PadChestTree
) -> None:
    padchest.add(1, sentence("x", [0.1, 0.1, 0.5, 0.5]))
    roots = {**sound.write(), **padchest.write()}
    table = sound.jpg / "mimic-cxr-2.0.0-split.csv.gz"
    table.write_bytes(table.read_bytes()[:-9])
    result = check(roots)
    assert result.exit_code == 1
    assert "truncated or damaged" in result.output
    assert "padchest-gr" in result.output
    assert "20240819" in result.output


def test_a_patient_in_two_splits_is_a_problem(sound: MimicTrees) -> None:
    sound.add(A[0], "50000009", 9)
    result = check(sound.write())
    assert result.exit_code == 1
    assert "more than one split" in result.output


def test_a_mixed_tree_is_noted_and_a_2_1_file_in_a_2_0_folder_is_a_problem(
    sound: MimicTrees,
) -> None:
    sound.write()
    old = sound.jpg.rename(sound.jpg.with_name("2.0.0"))
    result = check({"mimic-cxr": sound.reports, "mimic-cxr-jpg": old})
    assert "mixed: 2.0.0, 2.1.0" in result.output
    assert result.exit_code == 0
    (old / "mimic-cxr-2.1.0-test-set-labeled.csv").write_text("study_id\n")
    result = check({"mimic-cxr": sound.reports, "mimic-cxr-jpg": old})
    assert "a 2.1.0 file in a 2.0.0 tree" in result.output
    assert result.exit_code == 1


def test_a_split_table_that_disagrees_with_the_list_of_images_is_a_problem(
    sound: MimicTrees,
) -> None:
    roots = sound.write()
    (sound.jpg / "IMAGE_FILENAMES").write_text(f"files/x/{dicom_id(1)}.jpg\nfiles/x/other.jpg\n")
    result = check(roots)
    assert result.exit_code == 1
    assert "listed images without a split" in result.output
    assert "split images not listed" in result.output


def test_reports_alone_are_checked_by_their_own_list(sound: MimicTrees) -> None:
    sound.write()
    rows = "subject_id,study_id,path\n" + "".join(f"{p},{s},x\n" for p, s in (A, B))
    (sound.reports / "cxr-study-list.csv.gz").write_bytes(gzip.compress(rows.encode()))
    result = check({"mimic-cxr": sound.reports})
    assert result.exit_code == 0, result.output
    assert "227,835" in result.output
    assert "--data mimic-cxr-jpg=PATH" in result.output


@pytest.mark.usefixtures("sound")
def test_every_other_dataset_has_its_own_check(
    ms_cxr: Callable[..., dict[str, Path]], tmp_path: Path
) -> None:
    roots = ms_cxr([(*B, 2, "Edema", "oedema", (1, 1, 20, 20))])
    questions = tmp_path / "cxr-qba"
    write_questions(questions, *A, [answer("a", dicom_id(1), (1, 1, 9, 9))])
    result = check({**roots, "cxr-qba": questions})
    assert result.exit_code == 0, result.output
    assert "1,162" in result.output
    assert "studies with region phrases" in result.output


def test_a_tree_without_a_check_of_its_own_is_recognized(tmp_path: Path) -> None:
    (tmp_path / "chat_test_MIMIC_CXR_all_x.json").touch()
    result = check({"llava-rad": tmp_path})
    assert result.exit_code == 0
    assert "recognized" in result.output


def test_a_wrong_folder_or_name_is_an_error_of_the_user(tmp_path: Path) -> None:
    assert "holds none of" in str(check({"ms-cxr": tmp_path}).exception)
    assert "Did you mean" in str(run("check", f"ms-cxt={tmp_path}").exception)


def test_the_list_of_datasets_counts_what_is_on_disk_beside_the_published(
    sound: MimicTrees, padchest: PadChestTree
) -> None:
    padchest.add(1, sentence("x", [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.7, 0.7]), sentence("no y"))
    rows = list(dataset_rows({**sound.write(), **padchest.write()}))
    by_key = {(row[0], row[2]): row for row in rows}
    assert by_key["mimic-cxr", "test"][3:] == (
        *("1", "1", "1", "-"),
        "293 patients, 3,269 studies, 5,159 images",
    )
    assert by_key["padchest-gr", "test"][3:7] == ("1", "1", "1", "2 (2 boxes each)")
    assert by_key["ms-cxr", "all"][1] == "not set"
    assert by_key["manifest", "all"][1] == "not set"


def test_without_any_root_the_twins_stand_in() -> None:
    states = {row[0]: row[1] for row in dataset_rows({})}
    assert states["mimic-cxr"].startswith("phantom twin")
    assert states["open-i"] == "not set"


def test_help_of_the_group_imports_no_data_code() -> None:
    code = (
        "import sys; from harness.commands.data import command\n"
        "assert not {'pandas', 'numpy', 'torch'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_sheet_shows_phantoms_of_both_renderings_over_real_films(tmp_path: Path) -> None:
    write_film(tmp_path / "own" / "a.png")
    table = "image_id,file,patient_id,text_findings\na,a.png,p,x\n"
    (tmp_path / "own" / "manifest.csv").write_text(table)
    out = tmp_path / "new" / "sheet.png"
    result = run("sheet", "--out", str(out), "--studies", "2", "--columns", "2")
    assert result.exit_code == 0, result.output
    with PIL.Image.open(out) as picture:
        without = picture.size
    real = ("--real", str(tmp_path / "own"))
    run("sheet", "--out", str(out), "--studies", "2", "--columns", "2", *real)
    with PIL.Image.open(out) as picture:
        assert picture.width == without[0] == 640
        assert picture.height > without[1]
        row = picture.crop((0, without[1], 320, without[1] + 320)).convert("L")
    # the film's bright patch lies below left, as in the file
    assert row.getpixel((80, 220)) > 150 > row.getpixel((240, 220))


def test_a_phantom_split_is_rendered_and_its_folders_printed(tmp_path: Path) -> None:
    result = run("phantom", "ms-cxr", "test", "--limit", "1", "--out", str(tmp_path), "--quiet")
    assert result.exit_code == 0, result.output
    folders = dict(line.split("=", 1) for line in result.output.split() if "=" in line)
    assert {"ms-cxr", "mimic-cxr-jpg", "truth"} <= set(folders)
    assert check({name: Path(folders[name]) for name in ("ms-cxr", "mimic-cxr-jpg")}).exit_code == 0
