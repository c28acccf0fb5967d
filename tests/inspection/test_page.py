"""What stands in the page, read with Python, and what the page shows, seen in a browser where there is one."""

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from heedful.inspection import page as page_module
from heedful.inspection.page import draw, notebook_html, page, save_html

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--",
    "\u2028",
    "\u202eabc",
    '"',
    "😀",
    "{{script}}",
    "▁월",
    "</s>",
]


def record_of(html):
    """The data block, as a browser finds it: up to the first end tag."""
    [block] = re.findall(r'<script type="application/json" id="record">(.*?)</script', html, re.DOTALL)
    return json.loads(block)


def decoded(layer):
    coding = {"float32": "<f4", "sqrt8": np.uint8}[layer["coding"]]
    return np.frombuffer(zlib.decompress(base64.b64decode(layer["data"])), coding).reshape(layer["shape"])


def test_the_page_holds_every_weight_exactly(make):
    one, other = make(heads=(2, 3)), make(kinds=("cross",), heads=(1,), name="rnn-attention")
    records = record_of(page([one, other]))["inspections"]
    for record, inspection in zip(records, [one, other], strict=True):
        assert list(record["attention"]) == inspection.kinds()
        assert [token["token"] for token in record["tokens"]] == inspection.tokens
        assert [token["token"] for token in record["source_tokens"]] == inspection.source_tokens
        for kind, layers in record["attention"].items():
            for block, layer in zip(layers, inspection.layers(kind), strict=True):
                np.testing.assert_array_equal(decoded(block), layer)


def test_a_page_too_large_for_exact_weights_rounds_them_and_says_so(make, monkeypatch):
    one = make()
    monkeypatch.setattr(
        page_module, "EXACT_BYTES", sum(layer.nbytes for kind in one.kinds() for layer in one.layers(kind))
    )
    [record] = record_of(page([one]))["inspections"]
    assert record["attention"]["cross"][0]["coding"] == "float32"
    monkeypatch.setattr(page_module, "EXACT_BYTES", page_module.EXACT_BYTES - 1)
    [record] = record_of(page([one]))["inspections"]
    for block, layer in zip(record["attention"]["cross"], one.layers("cross"), strict=True):
        assert block["coding"] == "sqrt8"
        np.testing.assert_allclose((decoded(block) / 255.0) ** 2, layer, atol=0.004)


def test_the_policy_allows_the_two_inlined_files_and_nothing_else(make):
    html = page([make()])
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    [style] = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    [script] = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for name, content in (("style-src", style), ("script-src", script)):
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert "connect-src" not in rules
    for address in re.findall(r"https?:|//[a-z]+\.|@import|url\(", html):
        pytest.fail(f"the page refers to {address}")


def test_hostile_text_stays_data(make):
    one = make(HOSTILE, HOSTILE, source="".join(HOSTILE), text="</title><script>alert(1)</script>", name="<b>")
    html = page([one])
    record = record_of(html)
    assert [token["token"] for token in record["inspections"][0]["tokens"]] == HOSTILE
    assert record["inspections"][0]["text"] == one.text
    assert html.count("<script") == 2
    assert "<img" not in html
    assert "\u2028" not in html.split("</title>")[1]


class Frames(HTMLParser):
    def __init__(self):
        super().__init__()
        self.frames = []

    def handle_starttag(self, tag, attributes):
        assert tag == "iframe"
        self.frames.append(dict(attributes))


def test_a_notebook_gets_one_sandboxed_frame_with_the_page(make):
    one = make(HOSTILE, HOSTILE)
    parser = Frames()
    parser.feed(notebook_html(one))
    [frame] = parser.frames
    assert frame["srcdoc"] == page([one])
    assert frame["sandbox"] == "allow-scripts"


def test_a_blank_line_draws_itself_without_a_page():
    assert draw(SimpleNamespace(text="", tokens=[])) == "<p></p>"


# In the browser


@pytest.fixture
def opened(browser, tmp_path):
    """Opens inspections, and holds the page to asking for nothing and complaining of nothing."""

    def opened(inspections, **size):
        path = tmp_path / "page.html"
        save_html(path, inspections)
        browser.open(path, **size)
        return browser

    yield opened
    assert browser.problems == []
    assert browser.requests == [(tmp_path / "page.html").as_uri()]


def centre(browser, row, column, panel=0):
    """Where a cell's centre is in the window."""
    where = f"document.querySelectorAll('.panel')[{panel}].querySelector('.plot canvas').getBoundingClientRect()"
    box = browser.run(f"(() => {{ const {{left, top}} = {where}; return {{left, top}} }})()")
    state = browser.run(f"heedful.state[{panel}]")
    x = box["left"] + state["left"] + (column + 0.5) * state["pitch"]
    return x, box["top"] + state["top"] + (row + 0.5) * state["pitch"]


def legend(browser):
    """The 256 colours that the page's legend shows, from weight 0 to weight 1."""
    pixels = "[...document.querySelector('.legend canvas').getContext('2d').getImageData(0, 0, 256, 1).data]"
    return np.array(browser.run(pixels)).reshape(256, 4)[:, :3]


def test_numbers_in_the_browser_are_those_recorded(opened, make):
    one = make(heads=(2, 3))
    browser = opened([make(attention=None), one])
    for kind in one.kinds():
        for layer, heads in enumerate(one.layers(kind)):
            for head, weights in enumerate(heads):
                shown = browser.run(f"[...heedful.map(1, '{kind}', {layer}, {head})]")
                np.testing.assert_array_equal(np.float32(shown).reshape(weights.shape), weights)
        mean = browser.run(f"[...heedful.map(1, '{kind}', 'mean', 'mean')]")
        np.testing.assert_allclose(np.reshape(mean, weights.shape), one.mean(kind), atol=1e-7)
        mean = browser.run(f"[...heedful.map(1, '{kind}', 1, 'mean')]")
        np.testing.assert_allclose(np.reshape(mean, weights.shape), one.layers(kind)[1].mean(0), atol=1e-7)


@pytest.mark.parametrize("dark", [False, True])
def test_every_cell_has_the_legends_colour_for_its_weight(opened, make, dark):
    one = make(kinds=("cross",), heads=(1,))
    browser = opened([one], dark=dark)
    colours = legend(browser)
    light = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) >= 0).all() if dark else (np.diff(light) <= 0).all()
    # Near a corner of each cell: a number may stand in the middle.
    pixels = browser.run("""(() => {
        const [{left, top, pitch}] = heedful.state;
        const canvas = document.querySelector('.plot canvas');
        const {data, width} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return Array.from({length: 35}, (_, cell) => {
            const [x, y] = [left + (cell % 7) * pitch + 4, top + Math.floor(cell / 7) * pitch + 4].map(Math.floor);
            return [...data.slice((y * width + x) * 4).slice(0, 3)];
        });
    })()""")
    weights = one.layers("cross")[0][0]
    assert weights.shape == (5, 7)
    assert pixels == [colours[round(float(weight) * 255)].tolist() for weight in weights.ravel()]


def test_all_heads_are_seen_at_once_and_one_click_makes_one_large(opened, make):
    one = make(heads=(2, 3))
    browser = opened([one])
    # Two layers with means of their own, and the mean of all.
    assert browser.run("document.querySelectorAll('.grid button canvas').length") == 2 + 1 + 3 + 1 + 1
    browser.run("document.querySelector('[aria-label=\"Layer 2, head 3\"]').click()")
    state = browser.run("heedful.state[0]")
    assert (state["kind"], state["layer"], state["head"]) == ("cross", 1, 2)
    browser.run("[...document.querySelectorAll('.kinds button')].find(one => one.value === 'decoder').click()")
    assert browser.run("heedful.state[0].kind") == "decoder"


def test_a_lone_peak_shows_in_a_small_map_of_many_tokens(opened, make):
    tokens = [f"t{index}" for index in range(211)]
    weights = np.full((2, 211, 211), 0.001, np.float32)
    weights[1, 97, 30] = 0.789
    browser = opened([make(tokens, tokens, attention={"cross": [weights]})])
    pixels = "document.querySelectorAll('.grid canvas')[1].getContext('2d').getImageData(0, 0, 64, 64).data"
    red = np.array(browser.run(f"[...{pixels}]")).reshape(64, 64, 4)[..., 0]
    assert np.argwhere(red < 150).tolist() == [[97 * 64 // 211, 30 * 64 // 211]]
    assert browser.run("document.querySelectorAll('*').length") < 3000
    assert not browser.run("document.querySelector('.zooms').hidden")


def test_pointing_at_a_cell_says_its_weight_and_tints_the_text(opened, make):
    one = make(kinds=("cross",), heads=(1,))
    weights = one.layers("cross")[0][0]
    browser = opened([one])
    colours = legend(browser)
    browser.hover(*centre(browser, 1, 2))
    assert browser.run("document.querySelector('.tip').textContent") == f"Hund → run{weights[1, 2]:.3f}"
    source = "document.querySelectorAll('.line')[0].querySelectorAll('.chip')"
    tints = browser.run(f"[...{source}].map(one => one.style.backgroundColor)")
    for tint, weight in zip(tints, weights[1], strict=True):
        step = round(float(weight) * 255)
        assert tint == ("rgb({}, {}, {})".format(*colours[step]) if step >= 2 else "")
    marked = "[...document.querySelectorAll('.marked')].map(one => one.textContent)"
    assert browser.run(marked) == ["run", "Hund"]


def test_pointing_at_a_word_shows_its_row_in_every_panel_that_has_it(opened, make):
    same = make(kinds=("cross",), heads=(1,), name="same")
    other = make(tokens=["▁Ein", "▁Tier", "▁rennt", ".", "</s>"], kinds=("cross",), heads=(1,), name="other")
    browser = opened([make(attention=None), same, same, other])
    box = "document.querySelectorAll('.panel')[1].querySelectorAll('.line')[1].children[2].getBoundingClientRect()"
    box = browser.run(f"(() => {{ const {{left, top}} = {box}; return {{left, top}} }})()")
    browser.hover(box["left"] + 4, box["top"] + 8)  # the child before is <s>, so this is "Hund"
    assert browser.run("heedful.state.map(panel => panel.row)") == [None, 1, 1, None]


def test_the_keyboard_does_what_the_pointer_does(opened, make):
    one = make()
    browser = opened([one])
    browser.run("document.querySelector('.plot').focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        browser.press(key)  # the first one only enters, at the first cell
    weight = one.mean("cross")[1, 3]
    assert browser.run("document.querySelector('[role=status]').textContent") == f"Hund → s, {weight:.3f}"
    browser.press("End")
    assert browser.run("[heedful.state[0].row, heedful.state[0].column]") == [1, 6]
    browser.run("document.querySelector('details').open = true; new Promise(requestAnimationFrame).then(() => null)")
    cells = browser.run(
        "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.innerText))"
    )
    shown = [token.removeprefix("▁") for token in one.source_tokens]
    assert [cell[:2] for cell in cells] == [
        [token, f"{w:.3f}"] for token, w in zip(shown, one.mean("cross")[1], strict=True)
    ]
    browser.press("Escape")
    assert browser.run("[heedful.state[0].row, heedful.state[0].column]") == [None, None]
    browser.run("document.querySelector('.grid [tabindex=\"0\"]').focus()")
    for key in ("ArrowUp", "ArrowLeft"):
        browser.press(key)
    assert browser.run("document.activeElement.ariaLabel") == "Layer 2, head 3"
    assert browser.run("[heedful.state[0].layer, heedful.state[0].head]") == [1, 2]


def test_a_model_without_attention_says_so_and_draws_no_map(opened, make):
    browser = opened([make(attention=None, name="rnn"), make()])
    panel = "document.querySelectorAll('.panel')[0]"
    assert browser.run(f"{panel}.querySelectorAll('canvas').length") == 0
    assert "one fixed-length vector" in browser.run(f"{panel}.innerText")


def test_hostile_tokens_are_shown_as_text(opened, make):
    browser = opened([make(HOSTILE, HOSTILE, source="".join(HOSTILE), name="<b>bold</b>")])
    assert browser.run("document.querySelectorAll('img, b:empty, h2 b').length") == 0
    assert browser.run("document.querySelector('h2').textContent") == "<b>bold</b>"
    shown = browser.run("[...document.querySelectorAll('.line')[0].querySelectorAll('.chip')].map(one => one.title)")
    assert shown == HOSTILE


def test_right_to_left_text_runs_right_to_left_and_keeps_its_numbers(opened, make):
    tokens = ["▁الجمعة", "▁١", "٥", "▁مارس", "</s>"]
    browser = opened([make(tokens, source="الجمعة ١٥ مارس", kinds=("cross",), heads=(1,))])
    lefts = browser.run(
        "[...document.querySelector('.line').querySelectorAll('.chip')].map(one => one.getBoundingClientRect().left)"
    )
    day, one, five, month, end = lefts
    assert day > five > one > month > end  # fifteen reads 1, 5 from the left
    assert browser.run("document.querySelectorAll('.line')[1].dir") == "ltr"


def test_both_languages_and_a_narrow_window(opened, make):
    browser = opened([make(), make(attention=None)], width=360, height=700)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.run("document.querySelector('.language').click()")
    assert browser.run("document.documentElement.lang") == "ko"
    assert "모든 헤드" in browser.run("document.body.innerText")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    keys = "((en, ko) => Object.keys(en).filter(key => !(key in ko)))"
    assert browser.run(f"[...{keys}(WORDS.en, WORDS.ko), ...{keys}(WORDS.ko, WORDS.en)]") == []
