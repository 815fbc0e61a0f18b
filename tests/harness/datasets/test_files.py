import gzip
from pathlib import Path

import pytest

from harness.datasets.files import find_file, inside, read_json_lines, read_rows, read_table
from harness.errors import BenchError


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfid, text\r\n007,"a\r\nb"\r\n')
    frame = read_table(path, ("id", "text"))
    assert frame.to_dict("list") == {"id": ["007"], "text": ["a\r\nb"]}
    assert [(r.get("id"), r.get("text"), r.line) for r in read_rows(path, ("id",))] == [
        ("007", "a\nb", 3)
    ]


def test_ids_stay_text_and_na_is_a_word(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"id,name\n{'1' * 39},NA\n")
    assert read_table(path).to_dict("list") == {"id": ["1" * 39], "name": ["NA"]}


@pytest.mark.parametrize("keep", [1, 10, -9, -1])
def test_a_truncated_gzip_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "t.csv.gz"
    rows = "".join(f"{k},{k * 7919 % 1000}\n" for k in range(3000))
    path.write_bytes(gzip.compress(f"id,x\n{rows}".encode())[:keep])
    with pytest.raises(BenchError, match=r"t\.csv\.gz: truncated or damaged"):
        read_table(path, ("id",))


def test_a_ragged_or_empty_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,x\n1,2\n3,4,5\n")
    with pytest.raises(BenchError, match=r"t\.csv: not a readable CSV"):
        read_table(path, ("id",))
    path.write_text("id,x\n1,2,3\n3,4,5\n")
    with pytest.raises(BenchError, match="more cells than the header"):
        read_table(path, ("id",))
    path.write_text("")
    with pytest.raises(BenchError, match=r"t\.csv: not a readable CSV"):
        read_table(path)
    with pytest.raises(BenchError, match=r"no column id\. Found: an empty file"):
        read_rows(path, ("id",))


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("id\nni\xf1o\n".encode("latin-1"))
    with pytest.raises(BenchError, match="not UTF-8"):
        read_table(path)
    with pytest.raises(BenchError, match="not UTF-8"):
        read_rows(path, ("id",))
    with pytest.raises(BenchError, match="not UTF-8"):
        list(read_json_lines(path))


def test_a_quote_that_never_closes_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,x\n1,"open\n2,3\n')
    with pytest.raises(BenchError, match=r"t\.csv line \d: .*quotes"):
        read_rows(path, ("id",))


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,id\n1,2\n")
    with pytest.raises(BenchError, match="names id twice"):
        read_rows(path, ("id",))


def test_the_last_of_several_matches_of_a_pattern_is_taken(tmp_path: Path) -> None:
    for name in ("reports_2023.json", "reports_2024.json", "z.csv"):
        (tmp_path / name).touch()
    assert find_file(tmp_path, "no.csv", "reports_*.json") == tmp_path / "reports_2024.json"
    assert find_file(tmp_path, "no.csv") is None


def test_a_path_inside_the_root_may_be_a_link_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere.png").touch()
    (tmp_path / "root" / "a.png").symlink_to(tmp_path / "elsewhere.png")
    assert inside(tmp_path / "root", "x/../a.png", "here").is_file()
    with pytest.raises(BenchError, match="leaves the data root"):
        inside(tmp_path / "root", "..\\elsewhere.png", "here")
