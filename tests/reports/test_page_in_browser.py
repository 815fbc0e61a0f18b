"""The page as a reader has it: opened from a file in a browser that reaches nothing else."""

from pathlib import Path

import pytest
from PIL import Image

from harness.errors import BenchError
from harness.record import ModelInfo, Score
from reports.drawing import Picture
from reports.page import Extras, render_page
from reports.picture import take_picture
from reports.published import published_tables
from reports.report import write_report
from reports.runs import dataset_source, read_runs
from reports.tables import sections

EVIL = "<script>document.title='owned'</script>"

MODELS = "[...document.querySelectorAll('.panel:not([hidden]) tr.model button.model')]"
NAMES = f"{MODELS}.filter(b => b.offsetParent).map(b => b.textContent)"


@pytest.fixture(scope="module")
def page(toy_runs, toy_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    write_report(read_runs([toy_runs]), out, source=dataset_source({"manifest": toy_data}))
    return f"file://{out / 'report.html'}"


@pytest.fixture
def opened(browser, page):
    browser.open(page)
    return browser


def first_table(browser):
    return browser.run(f"return {NAMES}")[:4]


def test_the_best_model_stands_first_and_sorting_turns_the_table_round(opened):
    assert first_table(opened) == ["sharp", "leaky", "blunt", "blunter"]
    opened.click("section.table th[aria-sort] button.sort")
    assert first_table(opened)[0] == "blunter"
    sort = "return document.querySelector('section.table th[aria-sort]').ariaSort"
    assert opened.run(sort) == "ascending"


def test_sorting_by_name_keeps_controls_below_models(opened):
    opened.click("section.table button.sort[data-column=model]")
    assert first_table(opened) == ["blunt", "blunter", "leaky", "sharp"]
    bodies = opened.run(
        "return [...document.querySelector('section.table table').tBodies].map("
        "b => b.rows[b.rows.length - 1].dataset.role)"
    )
    assert bodies == ["model", "control", "ceiling"]


def test_columns_sort_by_number_not_by_text(opened):
    opened.click("section.table button.sort[data-column='/miou']")
    values = opened.run(
        "return [...document.querySelectorAll('section.table tr.model [data-of=\"/miou\"]')]"
        ".map(c => Number(c.dataset.value))"
    )
    assert len(values) >= 4
    assert values[:4] == sorted(values[:4])


def test_a_word_filters_the_models_and_escape_brings_them_back(opened):
    opened.key("/")
    assert opened.run("return document.activeElement.id") == "search"
    for letter in "blun":
        opened.key(letter)
    assert set(opened.run(f"return {NAMES}")) == {"blunt", "blunter"}
    opened.key("Escape")
    assert "sharp" in opened.run(f"return {NAMES}")


def test_a_word_that_fits_nothing_says_so(opened):
    opened.run(
        "const s = document.getElementById('search'); s.value = 'qqq';"
        "s.dispatchEvent(new Event('input'))"
    )
    assert opened.run("return document.getElementById('nothing').offsetParent !== null")


def test_exposure_filters_models_and_controls_can_be_hidden(opened):
    opened.click(".chip[data-exposure=contaminated]")
    assert set(opened.run(f"return {NAMES}")) == {"leaky"}
    opened.click(".chip[data-exposure=contaminated]")
    opened.click("#controls")
    rows = "return [...document.querySelectorAll('tr.control')].some(r => r.offsetParent)"
    assert not opened.run(rows)
    assert len(opened.run(f"return {NAMES}")) == 8


def test_a_definition_shows_on_hover_and_leaves(opened):
    opened.hover("section.table button.sort[data-column='/miou']")
    said = opened.wait(
        "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"
    )
    assert "union" in said.lower()
    opened.hover("h1")
    opened.wait("document.getElementById('tip').hidden")


def test_a_definition_shows_for_a_keyboard_too(opened):
    opened.run("document.querySelector('.chip').focus()")
    opened.key("Tab")
    assert "internal" in opened.wait("document.getElementById('tip').textContent")


def test_the_name_of_a_model_opens_where_its_numbers_come_from(opened):
    opened.run("document.querySelector('tr.model button.model').focus()")
    opened.key("Enter")
    text = opened.wait("document.querySelector('dialog[open]')?.innerText")
    assert "toy-family" in text
    assert "data fingerprint" in text
    assert "bench run toy --data manifest=..." in text
    opened.key("Escape")
    opened.wait("!document.querySelector('dialog[open]')")


def test_one_relevance_is_shown_at_a_time_and_the_others_on_demand(opened):
    visible = (
        "return [...document.querySelectorAll('section.table')].map(s => "
        "[...s.querySelectorAll('.panel')].filter(p => p.offsetParent).length)"
    )
    assert opened.run(visible) == [1, 1]
    opened.run(
        "const s = document.querySelector('section:nth-of-type(2) select.panels') ||"
        "document.querySelector('select.panels'); s.value = '2';"
        "s.dispatchEvent(new Event('change'))"
    )
    assert opened.run(visible) == [1, 1]


def test_all_columns_are_there_when_asked_for(opened):
    width = (
        "return [...document.querySelectorAll('section.table')[1].querySelectorAll("
        "'.panel:not([hidden]) thead tr:last-child th')].filter(h => h.offsetParent).length"
    )
    before = opened.run(width)
    opened.run("document.querySelectorAll('input.columns')[1].click()")
    assert opened.run(width) > before


def test_rank_ranges_and_whiskers_are_drawn(opened):
    ranks = "return [...document.querySelectorAll('td.rank')].map(c => c.textContent)"
    assert "2–3" in opened.run(ranks)
    assert opened.run("return document.querySelectorAll('.whisker .span').length") >= 4


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_nothing_is_wider_than_the_window(opened, width, scheme):
    opened.scheme(scheme)
    opened.size(width, 844)
    assert opened.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(opened, scheme):
    """WCAG 2.1 AA: a contrast of 4.5 for text."""
    opened.scheme(scheme)
    script = """
      const light = (c) => { const v = c.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)
        .map((x) => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
        return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return ['h1', '.lead', '.counts', 'td.primary', 'td .interval', '.mark-external',
        '.mark-contaminated', 'a', 'tr.control td', 'summary']
        .map((s) => document.querySelector(s)).filter(Boolean)
        .map((e) => { const ink = light(getComputedStyle(e).color);
          return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05); });
    """
    assert min(opened.run(script)) >= 4.5


def test_markup_in_names_reasons_and_captions_stays_text(browser, record, mious, tmp_path):
    rows = [
        record(EVIL, task="grounding", scores=mious(0.4), exposure="external"),
        record("gone", task="grounding", status="failed", reason=EVIL, scores=[]),
        record("b", task="grounding", scores=[Score(metric=EVIL, value=0.5, n=3)], suite=EVIL),
    ]
    rows[2].model = ModelInfo(name="b", family=EVIL, licence=EVIL, source=EVIL)
    found = sections(rows)
    picture = Picture(Image.new("RGB", (8, 8)), EVIL)
    extras = Extras(pictures={found[0].key: [picture]}, published=published_tables())
    (tmp_path / "p.html").write_text(render_page(found, extras, title=EVIL))
    browser.open(f"file://{tmp_path / 'p.html'}")
    assert browser.run("return document.title") == EVIL  # the heading, as text; not "owned"
    assert browser.run("return document.scripts.length") == 1
    assert EVIL in browser.run("return document.body.innerText")


@pytest.mark.usefixtures("chromium")
def test_the_picture_of_a_page_has_the_size_asked_for(page, tmp_path):
    source = Path(page.removeprefix("file://"))
    with Image.open(take_picture(source, tmp_path / "p.png", width=900, height=700)) as taken:
        assert taken.size == (900, 700)
        assert len(taken.convert("L").getcolors()) > 20


def test_a_picture_without_a_browser_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="needs Chromium"):
        take_picture(tmp_path / "page.html", tmp_path / "p.png")
