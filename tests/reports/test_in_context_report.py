"""What examples add, from stored outcomes of models whose mistakes are known."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PilImage

from harness.metrics.grounding_metrics import GROUNDING_METRICS
from harness.store import Cell
from reports.in_context import COPIED, DRAWN, FOUND, NONE, Line, Setting, Table, in_context_tables
from reports.in_context_numbers import FINDING, ROWS, numbers_of, of, write_in_context
from reports.in_context_text import markdown
from reports.report import write_report
from reports.runs import Runs, dataset_source, read_runs
from reports.tidy import SectionKey

# Of 16 places `sharp` and `oracle` are right on all, `blunter` on the eight odd ones, `blunt` on
# ten and `leaky` on twelve; `nothing` on none. They stand here for a grounder's rows.
G = "some-vlm"


def composed(**demonstrations):
    retriever = demonstrations.pop("retriever", "lofi")
    grounder = demonstrations.pop("grounder", G)
    return {
        "use": "in-context",
        "options": {
            "retriever": retriever,
            "grounder": grounder,
            "demonstrations": demonstrations,
        },
    }


ROLES = {
    "blunter": {"use": G},
    "blunt": {**composed(retriever="random"), "seed": 0},
    "leaky": {**composed(retriever="random", k="4"), "seed": 1},
    "sharp": composed(k="4", similarity="mean"),
    "oracle": composed(k=8),
    "nothing": composed(swap="boxes"),
    "centre-box": composed(k=1, grounder="copy-nearest"),
}


def with_similarities(read):
    """Stored answers, as if an encoder had found their examples."""

    def near(cell, kind):
        frame = read(cell, kind)
        if "-sharp-" in cell.folder.name and not frame.empty:
            films = frame["image_id"].str.removeprefix("i").astype(float) / 100
            frame = frame.assign(similarities=[np.float32([0.0, film]) for film in films])
        return frame

    return near


@pytest.fixture
def played(own_runs, toy_data, monkeypatch):
    """The toy runs as those of an in-context suite; a film's nearest example is as near as late."""
    runs = read_runs([own_runs])
    kept = []
    for record in runs.records:
        if record.task != "grounding" or record.model.name not in ROLES:
            continue
        update = {"reference": {"name": record.model.name, **ROLES[record.model.name]}}
        if record.model.name == "oracle":
            update["preprocessing"] = "extrapolation: 8 examples, trained with 4 at most"
        kept.append(record.model_copy(update={"model": record.model.model_copy(update=update)}))
    homes = {record.key: own_runs for record in kept}
    monkeypatch.setattr(Cell, "read", with_similarities(Cell.read))
    return Runs(tuple(kept), homes), dataset_source({"manifest": toy_data}), own_runs


def test_each_row_is_held_against_none_random_and_copying(played):
    runs, source, _ = played
    (one,) = in_context_tables(runs, source)
    rows = {number.line.name: number for number in of(numbers_of(one), ROWS)}
    assert set(rows) == {"blunter", "blunt", "sharp", "oracle", "nothing", "centre-box"}
    # Two draws of random examples are one row: the mean of 10 and 12 right of 16.
    assert rows["blunt"].line.draws == 2
    assert rows["blunt"].value == pytest.approx(11 / 16)
    sharp = rows["sharp"]
    assert {name: found.value for name, found in sharp.apart.items()} == {
        "none": pytest.approx(8 / 16),
        "random": pytest.approx(5 / 16),
        "copying": pytest.approx(1 - rows["centre-box"].value),
    }
    assert sharp.apart["none"].low < 8 / 16 < sharp.apart["none"].high
    assert sharp.stands
    assert sharp.verdict == "beats none, random, copying"
    assert set(rows["blunt"].apart) == {"none", "copying"}
    assert rows["blunter"].apart == {}  # the row without examples
    # No random row has eight examples, so the claim of the row with eight does not stand.
    assert set(rows["oracle"].apart) == {"none", "copying"}
    assert not rows["oracle"].stands


def test_a_row_with_exchanged_examples_is_held_against_the_same_row_without_the_exchange(played):
    runs, source, _ = played
    (one,) = in_context_tables(runs, source)
    swapped = next(x for x in of(numbers_of(one), ROWS) if x.line.name == "nothing")
    assert swapped.against == {"unswapped": "sharp"}
    assert swapped.apart["unswapped"].value == pytest.approx(-1)
    assert swapped.verdict == "read: swapping costs"


def test_accuracy_stands_against_k_and_against_the_nearest_examples_similarity(played):
    runs, source, folder = played
    files = write_in_context(runs, folder, source)
    rows = pd.read_csv(folder / "in-context.csv")
    assert [file.name for file in files] == ["in-context.md", "in-context.csv"]
    by_k = rows[(rows["analysis"] == "rows") & (rows["retriever"] == "lofi")]
    assert set(by_k[by_k["swap"].isna()]["k"]) == {1, 4, 8}
    near = rows[(rows["analysis"] == "nearness") & (rows["about"] == "sharp")]
    first = near[near["group"] == "1 (furthest)"].drop_duplicates("model").set_index("model")
    # The first ten films, places 0 to 9: the grounder alone is right on the five odd ones.
    assert first.loc["blunter", "miou"] == pytest.approx(0.5)
    assert first.loc["sharp", "miou"] == 1
    assert set(first["n"]) == {10}
    assert first.loc["sharp", "nearest_similarity"] == pytest.approx(0.045)
    assert near["n"].groupby(near["group"]).first().sum() == 48
    text = (folder / "in-context.md").read_text()
    assert "| lofi, by mean | 8 (extrapolation) | 1.000" in text
    assert "stands for sharp.**" in text
    for line in text.splitlines():
        if line.startswith("!["):
            with PilImage.open(folder / line.rpartition("(")[2].rstrip(")")) as picture:
                assert picture.size[0] > 300
    assert text.count("![") == 3


def test_bench_report_writes_it_where_examples_were_retrieved_and_nowhere_else(played):
    runs, source, folder = played
    names = [file.name for file in write_report(runs, folder / "a", source=source)]
    assert names[-2:] == ["in-context.md", "in-context.csv"]
    plain = Runs(tuple(r for r in runs.records if r.model.name == "blunter"), runs.homes)
    assert len(write_report(plain, folder / "b", source=source)) == 4


def test_outcomes_that_are_gone_leave_the_table_out(played):
    runs, source, folder = played
    for file in (folder / "cells").glob("grounding-*-leaky-*/outcomes/*.parquet"):
        file.unlink()
    assert in_context_tables(runs, source) == []


def by_hand(values, **setting) -> Line:
    rows = np.asarray(values, float)[:, None]
    return Line(setting.pop("name"), Setting(**setting), rows, np.full(len(rows), np.nan))


def hand_made() -> Table:
    """Two findings, 24 patients each: examples help on the first, which has more phrases."""
    first, second = [True] * 30 + [False] * 24, [False] * 30 + [True] * 24
    lines = (
        by_hand([0.2] * 54, name="none", kind=NONE, grounder="g"),
        by_hand([0.3] * 54, name="random", kind=DRAWN, grounder="g", retriever="random", k=4),
        by_hand(
            [0.6] * 30 + [0.3] * 24, name="found", kind=FOUND, grounder="g", retriever="a", k=4
        ),
        by_hand([0.1] * 54, name="copy", kind=COPIED, retriever="b", k=1),
        by_hand([0.4] * 54, name="own", kind=COPIED, retriever="a", k=1),
    )
    key = SectionKey("grounding", "ms-cxr", True, "made-up", "test", "", "f")
    groups = {
        "all": np.ones(54, bool),
        "finding=a|b": np.array(second),
        "finding=c": np.array(first),
    }
    patients = np.array([*range(24), *range(6), *range(24)])
    return Table(key, GROUNDING_METRICS["miou"], patients, lines, groups)


def test_findings_have_their_own_rows_and_differences_the_most_frequent_first():
    one = hand_made()
    numbers = of(numbers_of(one), FINDING)
    assert list(dict.fromkeys(x.group for x in numbers)) == ["c", "a|b"]
    found = {x.group: x for x in numbers if x.line.name == "found"}
    assert found["c"].apart["random"].value == pytest.approx(0.3)
    assert found["a|b"].apart["random"].value == pytest.approx(0.0)
    text = markdown([(one, numbers_of(one))], [{}])
    assert "| c | 30 | 24 | 0.200 | 0.300 | 0.400 | 0.600 | **+0.300 [+0.300, +0.300]** |" in text
    assert "| a\\|b | 24 | 24 |" in text
    assert "they do not rank models on patients" in text


def test_copying_is_that_of_the_rows_own_retriever_and_else_the_best():
    one = hand_made()
    row = next(line for line in one.lines if line.name == "found")
    assert one.rivals(row)["copying"].name == "own"
    other = by_hand([0.5] * 54, name="c", kind=FOUND, grounder="g", retriever="c", k=4)
    assert one.rivals(other)["copying"].name == "own"  # 0.4 is better than 0.1
    assert one.rivals(other)["random"].name == "random"
    more = by_hand([0.5] * 54, name="c", kind=FOUND, grounder="g", retriever="c", k=2)
    assert "random" not in one.rivals(more)
