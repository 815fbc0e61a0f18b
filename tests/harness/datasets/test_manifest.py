import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from harness.datasets import load_dataset
from harness.errors import BenchError
from harness.images import Image
from harness.samples import ImageText, PhraseBoxes

HEADER = "image_id,file,patient_id,view,split,text_findings,text_group"


def write(top: Path, rows: Sequence[str], header: str = HEADER, **files: str) -> dict[str, Path]:
    top.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b", "c"):
        PIL.Image.new("L", (8, 8), 50).save(top / f"{name}.png")
    (top / "manifest.csv").write_bytes("\n".join([header, *rows, ""]).encode())
    for name, content in files.items():
        (top / name.replace("__", ".")).write_text(content)
    return {"manifest": top}


ROWS = (
    "a,a.png,p1,PA,train,Left effusion.,",
    "b,b.png,p2,AP_SUPINE,test,Clear lungs.,g1",
    "c,c.png,p2,LL,test,,",
)


def load(roots: dict[str, Path], task: str = "retrieval", **more: Any) -> Any:
    return load_dataset("manifest", task=task, split=more.pop("split", "all"), roots=roots, **more)


def refused(roots: dict[str, Path], task: str = "retrieval", **more: Any) -> str:
    with pytest.raises(BenchError) as caught:
        load(roots, task, **more)
    return str(caught.value)


def phrase(**value: Any) -> str:
    base = {"image_id": "a", "phrase": "left lung", "kind": "anatomy", "boxes": [[0.5, 0, 1, 1]]}
    return json.dumps({**base, **value}) + "\n"


def test_without_a_pairs_file_images_with_a_text_are_asked_and_the_others_distract(
    tmp_path: Path,
) -> None:
    dataset = load(write(tmp_path, ROWS))
    asked = {s.sample_id: (s.asked, s.text, s.text_group) for s in dataset.samples}
    assert asked == {
        "a": (True, "Left effusion.", ""),
        "b": (True, "Clear lungs.", "g1"),
        "c": (False, "", ""),
    }
    assert (dataset.n_total, dataset.n_used, dataset.excluded) == (3, 3, {})


def test_a_pairs_file_decides_which_pairs_are_asked(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, ROWS, retrieval_pairs__csv="image_id\nb\n"))
    assert [s.sample_id for s in dataset.samples if s.asked] == ["b"]
    assert len(dataset.samples) == 3


def test_views_are_normalized_and_an_image_without_study_is_a_study(tmp_path: Path) -> None:
    images = [s.image for s in load(write(tmp_path, ROWS)).samples]
    assert [image.view for image in images] == ["PA", "AP", "LATERAL"]
    assert [image.study_id for image in images] == ["a", "b", "c"]


def test_a_byte_order_mark_windows_line_ends_and_quoted_line_breaks_are_read(
    tmp_path: Path,
) -> None:
    roots = write(tmp_path, [])
    text = f'\ufeff{HEADER}\r\na,a.png,p1,PA,,"Left\r\neffusion, small.",\r\nb,b.png,p1,,,x,\r\n'
    (tmp_path / "manifest.csv").write_bytes(text.encode())
    samples = load(roots).samples
    assert [s.text for s in samples] == ["Left effusion, small.", "x"]


def test_an_error_after_a_quoted_line_break_names_the_line_of_the_file(tmp_path: Path) -> None:
    message = refused(write(tmp_path, ['a,a.png,p1,PA,,"x\n\ny",', "a,b.png,p1,PA,,x,"]))
    assert "line 5: image_id 'a' repeats line 4" in message


def test_ids_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    message = refused(write(tmp_path, ["a,a.png,p1,,,x,", "A,b.png,p1,,,x,"]))
    assert "line 3: image_id 'A' differs only in case from line 2" in message


@pytest.mark.parametrize("path", ["../a.png", "x/../../a.png", "/etc/passwd", "C:\\a.png"])
def test_a_path_that_climbs_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    message = refused(write(tmp_path / "root", [f"a,{path},p1,,,x,"]))
    assert "leaves the data root" in message
    assert "line 2" in message


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    rows = ["a,gone.png,p1,,,x,", "b,b.png,,,,x,", ",c.png,p1,,,x,"]
    message = refused(write(tmp_path, rows))
    assert "3 bad row(s)" in message
    for part in ("line 2: no file", "line 3: patient_id is empty", "line 4: image_id is empty"):
        assert part in message


def test_a_missing_column_names_those_found(tmp_path: Path) -> None:
    message = refused(write(tmp_path, [], header="image,file,patient_id"))
    assert "no column image_id. Found: image, file, patient_id" in message


def test_more_cells_than_columns_is_refused_with_the_line(tmp_path: Path) -> None:
    message = refused(write(tmp_path, ["a,a.png,p1,PA,,effusion, small,,"]))
    assert "line 2: 9 cells, but the header has 7" in message


def test_an_age_that_is_no_number_is_refused(tmp_path: Path) -> None:
    for age in ("old", "nan", "inf"):
        roots = write(
            tmp_path, [f"a,a.png,p1,x,{age}"], "image_id,file,patient_id,text_findings,age"
        )
        assert f"age '{age}' is not a number" in refused(roots)


def test_a_manifest_without_rows_is_refused(tmp_path: Path) -> None:
    assert "no row below the header" in refused(write(tmp_path, []))


def test_an_empty_split_lists_the_splits_found(tmp_path: Path) -> None:
    assert "Splits found: test, train" in refused(write(tmp_path, ROWS), split="validation")


def test_one_image_is_enough(tmp_path: Path) -> None:
    assert load(write(tmp_path, ROWS[:1])).n_used == 1


def test_a_pair_without_a_text_is_refused_with_both_lines(tmp_path: Path) -> None:
    message = refused(write(tmp_path, ROWS, retrieval_pairs__csv="image_id\nc\n"))
    assert "line 2: 'c' has no text_findings in manifest.csv line 4" in message


def test_a_pair_of_an_unknown_or_repeated_image_is_refused(tmp_path: Path) -> None:
    message = refused(write(tmp_path, ROWS, retrieval_pairs__csv="image_id\na\na\nz\n"))
    assert "'a' is asked twice" in message
    assert "'z' is not in manifest.csv" in message


def test_a_folder_without_texts_says_so(tmp_path: Path) -> None:
    assert "no image of this split has a text" in refused(write(tmp_path, ["a,a.png,p1,,,...,"]))


def test_each_line_of_phrases_is_one_sample_even_if_repeated(tmp_path: Path) -> None:
    lines = phrase() + "\n" + phrase() + phrase(kind="finding", phrase="No nodule.", boxes=[])
    dataset = load(write(tmp_path, ROWS, phrases__jsonl=lines), "grounding")
    assert [s.sample_id for s in dataset.samples] == ["a#1", "a#2", "a#3"]
    assert [s.negated for s in dataset.samples] == [False, False, True]
    assert [s.kind for s in dataset.samples] == ["anatomy", "anatomy", "finding"]


def test_cardiomegaly_is_fixed_and_a_nodule_is_not(tmp_path: Path) -> None:
    lines = phrase(phrase="cardiomegaly", kind="finding") + phrase(phrase="nodule", kind="finding")
    dataset = load(write(tmp_path, ROWS, phrases__jsonl=lines), "grounding")
    assert [s.fixed for s in dataset.samples] == [True, False]


@pytest.mark.parametrize(
    ("boxes", "problem"),
    [
        ([[0.1, 0.1, 0.1, 0.5]], "no area"),
        ([[0.5, 0.1, 0.2, 0.5]], "inverted"),
        ([[10, 20, 30, 40]], "pixels"),
        ([[0.1, 0.2, float("nan"), 0.5]], "not finite"),
        ([[0.1, 0.2, 0.3]], "shape"),
        (None, "expected a list"),
    ],
)
def test_a_bad_box_names_file_line_and_fault(tmp_path: Path, boxes: Any, problem: str) -> None:
    lines = phrase() + phrase(boxes=boxes)
    message = refused(write(tmp_path, ROWS, phrases__jsonl=lines), "grounding")
    assert "phrases.jsonl" in message
    assert "line 2:" in message
    assert problem in message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"phrase": " "}, "phrase is empty"),
        ({"kind": "organ"}, "kind 'organ' is none of finding"),
        ({"image_id": "z"}, "'z' is not in manifest.csv"),
        ({"mask": "../../m.png"}, "leaves the data root"),
    ],
)
def test_a_bad_phrase_names_its_line(tmp_path: Path, value: Any, problem: str) -> None:
    message = refused(write(tmp_path, ROWS, phrases__jsonl=phrase(**value)), "grounding")
    assert "line 1:" in message
    assert problem in message


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    message = refused(write(tmp_path, ROWS, phrases__jsonl=phrase() + "{oops\n"), "grounding")
    assert "line 2: not JSON" in message


def test_all_bad_lines_of_phrases_are_told_at_once_and_counted(tmp_path: Path) -> None:
    wrong = "{oops\n[1, 2]\n" + phrase(kind="cat") + "{\n" * 9
    message = refused(write(tmp_path, ROWS, phrases__jsonl=phrase() + wrong), "grounding")
    assert "phrases.jsonl: 12 bad row(s)" in message
    for told in ("line 2: not JSON", "line 3: expected an object", "line 4: kind 'cat'"):
        assert told in message
    assert "line 11: not JSON" in message
    assert "line 12" not in message
    assert "and 2 more" in message


def test_a_limit_takes_asked_studies_first_and_counts_the_rest(tmp_path: Path) -> None:
    rows = ("c,c.png,p2,LL,test,,", *ROWS[:2])
    dataset = load(write(tmp_path, rows), limit=1)
    assert [s.sample_id for s in dataset.samples] == ["a"]
    assert dataset.excluded == {"beyond --limit 1": 2}
    assert dataset.n_total == dataset.n_used + 2


def test_a_limit_takes_images_for_grounding(tmp_path: Path) -> None:
    lines = phrase() + phrase(image_id="b") + phrase()
    dataset = load(write(tmp_path, ROWS, phrases__jsonl=lines), "grounding", limit=1)
    assert [s.sample_id for s in dataset.samples] == ["a#1", "a#2"]
    assert dataset.excluded == {"beyond --limit 1": 1}


def test_the_fingerprint_follows_the_text_and_not_the_folder(tmp_path: Path) -> None:
    one = load(write(tmp_path / "one", ROWS)).fingerprint()
    assert load(write(tmp_path / "two", ROWS)).fingerprint() == one
    changed = (ROWS[0].replace("Left", "Right"), *ROWS[1:])
    assert load(write(tmp_path / "three", changed)).fingerprint() != one


def test_the_real_folder_has_the_counts_its_page_states(realcxr: Path) -> None:
    pairs = load({"manifest": realcxr})
    assert len(pairs.samples) == 295
    assert sum(s.asked for s in pairs.samples if isinstance(s, ImageText)) == 45
    phrases = load({"manifest": realcxr}, "grounding").samples
    kinds = [s.kind for s in phrases if isinstance(s, PhraseBoxes)]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    assert counts == {"anatomy": 144, "device": 3, "finding": 24, "finding_weak": 6}


def test_the_patients_right_lung_lies_left_in_real_images(realcxr: Path) -> None:
    phrases = load({"manifest": realcxr}, "grounding").samples
    right = {
        s.image.image_id: s.boxes[:, [0, 2]].mean() for s in phrases if s.phrase == "right lung"
    }
    left = {s.image.image_id: s.boxes[:, [0, 2]].mean() for s in phrases if s.phrase == "left lung"}
    assert len(right) > 50
    assert all(right[name] < left[name] for name in right if name in left)


def test_a_box_paints_what_the_phrase_names_on_an_asymmetric_image(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60), np.uint8)
    pixels[10:20, 5:25] = 250  # the patient's right
    roots = write(tmp_path, ROWS)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    box = [[5 / 60, 10 / 40, 25 / 60, 20 / 40]]
    (tmp_path / "phrases.jsonl").write_text(phrase(phrase="right opacity", boxes=box))
    sample = load(roots, "grounding").samples[0]
    x1, y1, x2, y2 = np.round(sample.boxes[0] * [60, 40, 60, 40]).astype(int)
    shown = Image("a", sample.image.file).read()
    assert shown[y1:y2, x1:x2].min() > shown[:, 30:].max()
