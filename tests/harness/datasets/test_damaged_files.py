"""A file that cannot be read is told by name and cause; so is a loader that is not there."""

import json
import zipfile
from pathlib import Path

import pytest

from harness.datasets import dataset_spec, load_dataset
from harness.datasets import table as dataset_table
from harness.datasets.archive import open_archive
from harness.datasets.counts import dataset_rows
from harness.datasets.files import read_json, read_rows, read_table
from harness.datasets.table import DatasetSpec
from harness.errors import BenchError


def test_a_file_that_is_not_there_is_named_by_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    with pytest.raises(BenchError, match=r"none\.csv: no such file"):
        read_table(path)
    with pytest.raises(BenchError, match=r"none\.csv: no such file"):
        read_rows(path, ("id",))
    with pytest.raises(BenchError, match=r"none\.csv: no such file"):
        read_json(path)


def test_a_json_file_in_another_encoding_is_named_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('["ni\xf1o"]'.encode("latin-1"))
    with pytest.raises(BenchError, match=r"a\.json: not UTF-8 \(.* at byte 4\)"):
        read_json(path)


def test_a_cell_of_a_column_that_is_not_there_is_empty_and_a_row_knows_its_line(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id\n a \n")
    (one,) = read_rows(path, ("id",))
    assert (one.get("id"), one.get("age")) == ("a", "")
    assert str(one.error("age is missing.")) == f"{path} line 2: age is missing."


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut", b""])
def test_a_zip_that_is_cut_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "qa.zip"
    path.write_bytes(content)
    archive = open_archive([tmp_path / "qa", path])
    assert archive is not None
    with pytest.raises(BenchError, match=r"qa\.zip: truncated or damaged"):
        archive.read("p10/a.json")


def test_a_member_of_a_zip_that_is_damaged_or_too_large_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "qa.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("p10/a.json", "{")
        file.writestr("p10/b.json", json.dumps({"text": "x" * 200}))
    archive = open_archive([path])
    assert archive is not None
    with pytest.raises(BenchError, match=r"p10/a\.json is damaged"):
        archive.read("p10/a.json")
    assert archive.read("p10/c.json") is None
    monkeypatch.setattr("harness.datasets.archive._LARGEST", 100)
    with pytest.raises(BenchError, match=r"p10/b\.json is over 100 bytes"):
        archive.read("p10/b.json")
    assert open_archive([tmp_path / "nowhere"]) is None


def test_a_zip_with_two_tables_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.csv", "id\n1\n")
    assert read_table(path).to_dict("list") == {"id": ["1"]}
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("b.csv", "id\n2\n")
    with pytest.raises(BenchError, match=r"t\.zip: holds 2 files"):
        read_table(path)


# --- the table of datasets


def test_a_plug_in_may_bring_a_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DatasetSpec("ours", load="a:b", tasks=("retrieval",), trees=("mimic-cxr",), splits=())

    class Point:
        name = "ours"

        def load(self) -> DatasetSpec:
            return spec

    monkeypatch.setattr(dataset_table, "entry_points", lambda **_: [Point()])
    assert dataset_spec("ours") is spec
    assert spec.access.startswith("mimic-cxr: ")
    with pytest.raises(BenchError, match="Did you mean 'ours'"):
        dataset_spec("our")


def test_a_loader_whose_own_import_fails_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_loader.py").write_text("import a_module_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_module_nobody_has"):
        load_dataset("their_loader:load", task="grounding", split="all", roots={})


def test_counts_of_a_damaged_tree_are_left_out_of_the_list(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("no,such,columns\n")
    rows = [row for row in dataset_rows({"manifest": tmp_path}) if row[0] == "manifest"]
    assert rows
    assert all(cell in ("", "-", "–") for row in rows for cell in row[3:7])
