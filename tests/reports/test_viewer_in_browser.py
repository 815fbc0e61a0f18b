"""The viewer as a reader has it: served by this machine, opened in a browser."""

import threading

import pytest

from reports.viewer import open_server


@pytest.fixture(scope="module")
def served(gallery):
    server, address = open_server(gallery)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, address
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_listens_on_the_loopback_interface_only(served):
    server, address = served
    assert server.server_address[0] == "127.0.0.1"
    assert address.startswith("http://127.0.0.1:")


@pytest.fixture
def opened(browser, served):
    browser.open(served[1])
    browser.wait("document.querySelectorAll('.film img.pixels').length === 2")
    return browser


SHOWN = "document.getElementById('shown').dataset.id"
ROWS = "[...document.querySelectorAll('#list .item')].map(r => r.dataset.id)"


def test_it_opens_on_what_the_models_disagree_about(opened):
    assert opened.run("return document.getElementById('filter').value") == "differ"
    scores = opened.run(
        "return [...document.querySelectorAll('#list .item')].map(r => "
        "[...r.querySelectorAll('.score')].map(s => s.classList.contains('hit')))"
    )
    assert scores
    assert all(a != b for a, b in scores)


def test_arrow_keys_go_through_the_samples(opened):
    first = opened.wait(SHOWN)
    second = opened.run(f"return {ROWS}")[1]
    opened.key("j")
    assert opened.wait(f"{SHOWN} !== arguments[0] && {SHOWN}", first) == second
    opened.key("k")
    opened.wait(f"{SHOWN} === arguments[0]", first)


def test_number_keys_filter_by_who_hit(opened):
    opened.key("2")  # A (blunt) hit, B (blunter) missed
    count = opened.run("return document.getElementById('count').textContent")
    assert count == "15 of 48 samples"  # even zones that 3 does not divide: 2, 4, 8, 10, 14
    opened.key("1")
    assert opened.run("return document.getElementById('count').textContent") == "48 of 48 samples"


def test_a_finding_and_an_iou_range_filter_too(opened):
    opened.key("1")
    opened.run(
        "const s = document.getElementById('finding'); s.value = s.options[1].value;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert opened.run("return document.getElementById('count').textContent") == "3 of 48 samples"
    opened.run(
        "document.getElementById('finding').value = '';"
        "const l = document.getElementById('low'); l.value = '0.9';"
        "l.dispatchEvent(new Event('input'))"
    )
    assert opened.run("return document.getElementById('count').textContent") == "30 of 48 samples"


def test_boxes_can_be_hidden_by_key(opened):
    seen = "return getComputedStyle(document.querySelector('rect.true')).display"
    assert opened.run(seen) == "inline"
    opened.key("t")
    assert opened.run(seen) == "none"
    opened.key("t")
    assert opened.run(seen) == "inline"


def test_swapping_changes_sides(opened):
    title = "document.querySelector('.stage h3').firstChild.textContent"
    assert opened.run(f"return {title}") == "A  blunt"
    opened.key("s")
    opened.wait(f"{title} === 'A  blunter'")


def test_the_true_box_lies_on_the_bright_square(opened):
    """Green corners on screen against the pixels of the film, read back from the page."""
    opened.wait("[...document.querySelectorAll('img.pixels')].every(i => i.complete)")
    inside, outside = opened.run(
        """
        const img = document.querySelector('img.pixels'), box = document.querySelector('rect.true');
        const canvas = document.createElement('canvas');
        canvas.width = img.naturalWidth; canvas.height = img.naturalHeight;
        const pen = canvas.getContext('2d', { willReadFrequently: true }); pen.drawImage(img, 0, 0);
        const f = img.getBoundingClientRect(), b = box.getBoundingClientRect();
        const at = (x, y) => pen.getImageData((x - f.x) / f.width * canvas.width,
          (y - f.y) / f.height * canvas.height, 1, 1).data[0];
        const x = b.x + b.width / 2, y = b.y + b.height / 2;
        const beside = b.x - f.x > b.width ? x - b.width : x + b.width;
        return [at(x, y), at(beside, y)];
        """
    )
    assert inside > 180
    assert outside < 90


def test_retrieval_shows_the_ten_best_of_both_models(opened):
    opened.run(
        "const t = document.getElementById('table'); t.value = '1';"
        "t.dispatchEvent(new Event('change'))"
    )
    opened.wait("document.querySelectorAll('ol.ranking').length === 2")
    assert opened.run("return document.querySelectorAll('ol.ranking li').length") == 20
    opened.run(
        "const d = document.getElementById('direction'); d.value = 'text_to_image';"
        "d.dispatchEvent(new Event('change'))"
    )
    opened.wait("document.querySelectorAll('ol.ranking.pictures img').length === 20")


def test_help_opens_by_key_and_closes(opened):
    opened.key("?")
    assert opened.run("return document.getElementById('help').open")
    opened.key("Escape")
    opened.wait("!document.getElementById('help').open")


def test_the_token_leaves_the_address_bar(opened):
    assert opened.run("return location.search") == ""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_the_viewer_fits_the_window(opened, width, scheme):
    opened.scheme(scheme)
    opened.size(width, 844)
    assert opened.run("return document.documentElement.scrollWidth") <= width
