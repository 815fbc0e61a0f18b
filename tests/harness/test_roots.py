from pathlib import Path

import pytest

from harness.errors import BenchError
from harness.roots import data_roots, how_to_get, parse_data_flags, recognize, version_of


@pytest.fixture
def ms_cxr(tmp_path: Path) -> Path:
    top = tmp_path / "ms-cxr" / "1.1.0"
    top.mkdir(parents=True)
    (top / "MS_CXR_Local_Alignment_v1.1.0.csv").touch()
    return top


def test_the_folder_itself_its_parent_and_the_download_root_are_accepted(ms_cxr: Path) -> None:
    assert recognize("ms-cxr", ms_cxr) == ms_cxr
    assert recognize("ms-cxr", ms_cxr.parent) == ms_cxr
    assert recognize("ms-cxr", ms_cxr.parents[1]) == ms_cxr


def test_the_layout_of_a_recursive_download_is_accepted(tmp_path: Path) -> None:
    top = tmp_path / "physionet.org" / "files" / "mimic-ext-cxr-qba" / "1.0.0"
    (top / "exports").mkdir(parents=True)
    assert recognize("cxr-qba", tmp_path) == top


def test_of_two_versions_the_higher_is_taken_by_number_not_by_letter(tmp_path: Path) -> None:
    for version in ("2.0.0", "2.10.0", "2.9.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "IMAGE_FILENAMES").touch()
    assert recognize("mimic-cxr-jpg", tmp_path).name == "2.10.0"


def test_an_empty_newer_version_folder_does_not_hide_the_older(tmp_path: Path) -> None:
    (tmp_path / "2.1.0").mkdir()
    (tmp_path / "2.0.0" / "files").mkdir(parents=True)
    assert recognize("mimic-cxr-jpg", tmp_path).name == "2.0.0"


def test_a_flag_wins_over_the_environment(ms_cxr: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "MS_CXR_Local_Alignment_v1.0.0.json").touch()
    environ = {"MS_CXR": str(ms_cxr), "MIMIC_CXR": ""}
    assert data_roots([], environ) == {"ms-cxr": ms_cxr}
    assert data_roots([f"ms-cxr={other}"], environ) == {"ms-cxr": other}


def test_a_folder_that_is_not_there_says_how_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no folder .*PhysioNet.*export MS_CXR="):
        recognize("ms-cxr", tmp_path / "nowhere")


def test_a_folder_of_something_else_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"holds none of grounded_reports_\*\.json"):
        recognize("padchest-gr", tmp_path)


def test_the_manifest_file_stands_for_its_folder(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").touch()
    assert recognize("manifest", tmp_path / "manifest.csv") == tmp_path


@pytest.mark.parametrize("flag", ["ms-cxr", "ms-cxr=", "=x"])
def test_a_flag_without_a_name_and_a_path_is_refused(flag: str) -> None:
    with pytest.raises(BenchError):
        parse_data_flags([flag])


def test_an_unknown_root_suggests_the_near_one() -> None:
    with pytest.raises(BenchError, match=r"Did you mean 'ms-cxr'"):
        parse_data_flags(["ms-cxt=/x"])


def test_one_root_with_two_paths_is_refused_and_twice_the_same_is_not() -> None:
    assert parse_data_flags(["ms-cxr=/a", "ms-cxr=/a"]) == {"ms-cxr": Path("/a")}
    with pytest.raises(BenchError, match="given twice"):
        parse_data_flags(["ms-cxr=/a", "ms-cxr=/b"])


def test_a_root_of_a_plugin_is_only_required_to_exist(tmp_path: Path) -> None:
    assert data_roots([f"my-set={tmp_path}"], {}, extra=["my-set"]) == {"my-set": tmp_path}


def test_versions_are_read_from_folder_names() -> None:
    assert version_of(Path("/x/2.1.0")) == "2.1.0"
    assert version_of(Path("/x/mimic-cxr")) == ""


def test_how_to_get_names_the_variable_and_the_flag() -> None:
    assert "export PADCHEST_GR=" in how_to_get("padchest-gr")
    assert "--data padchest-gr=" in how_to_get("padchest-gr")
