"""The LaTeX of an ablation fits a page, measured with the font it will be set in."""

import re
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

from reports.ablation_latex import latex
from reports.ablation_training import costs
from reports.ablation_worth import Worth
from reports.definitions import TASKS
from reports.paired import Question
from tests.reports.arms import PLACE, arm, found, interval

PAGE = 345  # pt, \textwidth of an article in 10 pt
SEPARATION = 6  # pt, \tabcolsep
WIDER = 1.03  # Computer Modern of 9 pt against the 10 pt design, scaled
ARMS = ("sigmoid", "captioning", "location", "grounding", "dense-captioning")
ASKED = (
    ("retrieval", "image_to_text", "recall@10"),
    ("retrieval", "text_to_image", "recall@10"),
    ("probe", "", "accuracy"),
    ("grounding", "", "miou"),
    ("captioning", "", "finding_f1"),
)


def five_arms(datasets=("ms-cxr",)):
    """Five arms at all tasks, with the longest cells that there are."""
    names = [f"without-{loss}" for loss in ARMS]
    places = {
        (task, dataset): PLACE.__class__("representation", 100, task, dataset, "test", "", "")
        for dataset in datasets
        for task in TASKS
    }
    worths = tuple(
        Worth(name, place, Question(metric, direction), difference=-0.1,
              interval=interval(-0.15, -0.05), seeds=3)
        for name in names
        for (task, _), place in places.items()
        for asked, direction, metric in ASKED
        if asked == task
    )  # fmt: skip
    records = tuple(
        arm(name, seed, step_processor=80.0 + seed + 40 * (name == "full"))
        for name in ("full", *names)
        for seed in (0, 1, 2)
    )
    return found(records=records, worths=worths, costs=tuple(costs(records)))


def width(text: str) -> float:
    """How wide a cell is at 9 pt."""
    plain = re.sub(r"\\(?:emph|multicolumn\{\d\}\{@\{\}l@\{\}\})|[{}]", "", text)
    plain = plain.replace(r"\quad ", "MM").replace(r"\%", "%").replace("--", "–")
    plain, wide = re.subn(r"\$[^$]+\$", "", plain)  # a minus or an arrow: at most an em
    assert "\\" not in plain
    font = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts/ttf/cmr10.ttf"))
    font.set_size(9, 72)
    font.set_text(plain.replace("–", "-"))
    return WIDER * font.get_width_height()[0] / 64 + 9 * wide


def bodies(text: str) -> list[list[list[str]]]:
    """The cells of each table, line by line."""
    inner = re.findall(r"\\begin\{tabular\}[^\n]*\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    return [
        [line[:-3].split(" & ") for line in one.splitlines() if " \\\\" in line] for one in inner
    ]


def table_width(lines: list[list[str]]) -> float:
    """The sum of the widest cells, with what stands between columns; spanning lines alone."""
    columns = max(map(len, lines))
    own = [max(width(line[at]) for line in lines if len(line) == columns) for at in range(columns)]
    spanning = [width(line[0]) for line in lines if len(line) == 1]
    return max([sum(own) + 2 * SEPARATION * columns, *spanning])


def test_the_tables_of_five_arms_are_no_wider_than_a_page():
    overview, cost = bodies(latex(five_arms()))
    assert len(overview) == 1 + len(ASKED) * (1 + len(ARMS))
    assert sum(r"$-$0.100 [$-$0.150, $-$0.050]" in line for line in overview) == 25
    assert len(cost) == 1 + 1 + len(ARMS)
    assert "[1.000, 1.025]" in str(cost)
    assert table_width(overview) < PAGE
    assert table_width(cost) < PAGE


def test_an_overview_that_is_longer_than_a_page_is_several_tables():
    text = latex(five_arms(("ms-cxr", "padchest-gr", "mimic-cxr")))
    *overviews, _ = bodies(text)
    assert [len(one) - 1 for one in overviews] == [36, 36, 18]
    assert "(2 of 3): full minus arm" in text
