"""The built pages, opened in a browser that can reach no host.

``MABN_REF_SCREENSHOTS=DIR pytest tests/docs/test_pages.py`` keeps pictures of all pages, wide and phone-sized.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag

import pytest

from tests.docs import browser

pytestmark = pytest.mark.docs

_CHECKS = r"""(() => {
  const prose = document.querySelector('article')?.cloneNode(true);
  prose?.querySelectorAll('pre, code, .math svg').forEach(e => e.remove());
  const text = prose ? prose.textContent : '';
  const formulas = document.querySelectorAll('.math').length;
  return {
    raw: (text.match(/\\[(\[][\s\S]*?\\[)\]]|\\(frac|sum|begin|mathrm|left|sqrt|partial)\b/g) || []).slice(0, 3),
    errors: [...document.querySelectorAll('mjx-merror, [data-mml-node="merror"]')].map(e => e.outerHTML.slice(0, 99)),
    unset: [...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-container')).length,
    formulas: formulas,
    problematic: document.querySelectorAll('.problematic').length,
  };
})()"""
ROOT = Path(__file__).parents[2]
PARTS = 12
"""Of the pages, so that several processes share the work."""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def _pages(html: Path) -> list[Path]:
    return sorted(page for page in html.rglob("*.html") if "_static" not in page.parts)


_DRAWINGS = r"""[...document.querySelectorAll('svg.drawing')].map(svg => {
  const texts = [...svg.querySelectorAll('text')], {width} = svg.viewBox.baseVal;
  const frame = svg.getBoundingClientRect();  // a label may be turned, which getBBox does not know
  const outside = box => box.left < frame.left || box.top < frame.top
    || box.right > frame.right || box.bottom > frame.bottom;
  const first = svg.querySelector('a');
  first?.focus();
  return {
    words: svg.querySelector('title').textContent + svg.querySelector('desc').textContent,
    smallest: Math.min(...texts.map(text => parseFloat(getComputedStyle(text).fontSize)))
      * svg.getBoundingClientRect().width / width,
    outside: texts.filter(text => outside(text.getBoundingClientRect())).map(text => text.textContent),
    reached: !first || document.activeElement === first,
  };
})"""


def test_style_sheets_close_what_they_open() -> None:
    """A rule at the margin is inside of no other: what follows a brace that nobody closed holds on phones alone."""
    for sheet in sorted((ROOT / "docs" / "_static").glob("*.css")):
        depth = 0
        for number, line in enumerate(sheet.read_text(encoding="utf-8").splitlines(), 1):
            assert not depth or not line or line[0] in " }", f"{sheet.name}, line {number}"
            depth += line.count("{") - line.count("}")
        assert depth == 0, sheet.name


def test_drawings_are_read_on_a_phone_and_reached_by_keyboard(html: Path, chromium: browser.Browser) -> None:
    chromium.resize(browser.PHONE)
    pages = [page for page in _pages(html) if 'class="drawing"' in page.read_text(encoding="utf-8")]
    assert len(pages) >= 7
    for page in pages:
        chromium.open(page)
        for drawing in chromium.run(_DRAWINGS):
            assert drawing["smallest"] > 10.9, (page.name, drawing["words"])
            assert drawing["outside"] == [], (page.name, drawing["words"])
            assert drawing["reached"], (page.name, drawing["words"])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_pages_render_offline(html: Path, chromium: browser.Browser, part: int) -> None:
    formulas = 0
    pages = _pages(html)
    copies = [page for page in pages if "_modules" in page.parts]  # Sphinx's, of the source: one is like the other
    sizes = [browser.WIDE, browser.PHONE]
    for page in [page for page in pages if page not in copies[1:]][part::PARTS]:
        name = page.relative_to(html)
        sizes.reverse()  # the size that the page before has by now: no page is set again to leave it
        chromium.resize(sizes[0])
        chromium.open(page)
        found = chromium.run(_CHECKS)
        assert found["raw"] == [], name
        assert found["errors"] == [], name
        assert found["unset"] == 0, name
        assert found["problematic"] == 0, name
        assert chromium.complaints() == [], name
        outside = [url for url in chromium.requests() if not url.startswith(("file:", "data:", "blob:"))]
        assert outside == [], name
        formulas += found["formulas"]
        for size in sizes:
            chromium.resize(size)
            assert chromium.run(_OVERFLOW) <= 0, f"{name} is wider than the screen at {size[0]} pixels"
            _keep(chromium, name, size)
    assert formulas > 500 / PARTS / 2


def _keep(chromium: browser.Browser, page: Path, size: tuple[int, int]) -> None:
    folder = os.environ.get("MABN_REF_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = "_".join(page.with_suffix("").parts)
        chromium.screenshot(Path(folder) / f"{name}_{size[0]}.png")


def test_a_broken_page_is_noticed(tmp_path: Path, chromium: browser.Browser) -> None:
    """The checks above can fail: raw TeX, an image of another host, an error in a script."""
    page = tmp_path / "broken.html"
    page.write_text(
        r"<article>\(\frac12\)</article><img src='https://example.org/a.png'><script>throw Error('no')</script>"
    )
    chromium.open(page)
    assert chromium.run(_CHECKS)["raw"] == [r"\(\frac12\)"]
    assert "https://example.org/a.png" in chromium.requests()
    assert any("no" in complaint for complaint in chromium.complaints())


def test_links_lead_somewhere(html: Path) -> None:
    """Every internal link has its page and its place on it, annotated source and trace included."""
    texts = {page: page.read_text(encoding="utf-8") for page in _pages(html)}
    places = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in texts.items()}
    for page, text in texts.items():
        for link in set(re.findall(r'<a [^>]*href="([^"]+)"', text)):
            if re.match(r"[a-z]+:", link):
                continue
            target, fragment = urldefrag(unquote(link))
            to = Path(os.path.normpath(page.parent / target)) if target else page
            assert to in places or to.exists(), f"{page.relative_to(html)}: {link}"
            if fragment and to in places:
                assert fragment in places[to], f"{page.relative_to(html)}: {link}"


def test_no_row_of_a_table_is_cut_in_two(html: Path) -> None:
    """A second line in the first column of a simple table is a row of its own, with nothing beside it."""
    for page in _pages(html):
        for row in re.findall(r"<tr.*?</tr>", page.read_text(encoding="utf-8"), re.DOTALL):
            first, *others = [
                re.sub(r"<(?!img|svg).*?>", "", cell).strip() for cell in re.findall("<td.*?</td>", row, re.DOTALL)
            ] or [""]
            assert any(others) or not others, f"{page.relative_to(html)}: {first}"


def test_no_page_shows_markup(html: Path) -> None:
    """A backtick outside of code is a role or a literal that was not read as one."""
    for page in [page for page in _pages(html) if not {"_modules", "code"} & {*page.relative_to(html).parts}]:
        text = re.sub(r"<(pre|code|script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"<[^>]+>", "", text)
        assert "`" not in text, f"{page.relative_to(html)}: {text[max(text.find('`') - 40, 0) :][:80]}"


def test_no_page_shows_where_it_was_built(html: Path) -> None:
    for page in _pages(html):
        assert str(ROOT) not in page.read_text("utf-8"), page.relative_to(html)


def test_nothing_is_loaded_from_elsewhere(html: Path) -> None:
    for page in _pages(html):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"(https?:[^\"]+)", page.read_text("utf-8")
        )
        assert loaded == [], page.relative_to(html)


def test_the_trace_is_filtered_by_words(html: Path, chromium: browser.Browser) -> None:
    """By typing, after Tab has led to the field; a link to a folded place opens it."""
    chromium.resize(browser.PHONE)
    chromium.open(html / "trace.html")
    shown = (
        "[...document.querySelectorAll('.trace-card')].filter(card => card.checkVisibility()).map(card => card.id)"
    )
    everything = chromium.run(shown)
    assert len(everything) > 60
    chromium.run("document.querySelector('.trace-filter input').focus()")
    chromium.call("Input.insertText", text="mabn-backward (20)")
    assert chromium.run(shown) == ["trace-mabn-backward"]
    assert chromium.run("document.querySelector('.trace-filter output').textContent").startswith("1 of ")
    chromium.open(html / "mistakes.html")
    assert not chromium.run("document.getElementById('mistake-bn-no-g').open")
    chromium.run("document.querySelector('a[href=\"#mistake-bn-no-g\"]').click()")
    assert chromium.run(
        "new Promise(done => setTimeout(() => done(document.getElementById('mistake-bn-no-g').open), 300))"
    )


@pytest.mark.parametrize(
    ("words", "first"),
    [("variance", ""), ("running mean", ""), ("eps", ""), ("group norm", ""), ("MABN", "api/norms.mabn.html")],
)
def test_a_search_shows_first_what_explains(html: Path, chromium: browser.Browser, words: str, first: str) -> None:
    """The pages before the API and the source, unless it is a name of theirs."""
    chromium.resize(browser.WIDE)
    chromium.open(html / "search.html", f"?q={quote(words)}")
    found = chromium.run("""new Promise(done => {
      const look = () => {
        const links = [...document.querySelectorAll('ul.search li a')].map(link => link.getAttribute('href'));
        if (links.length > 3) done(links); else setTimeout(look, 50);
      };
      look();
    })""")
    if first:
        assert first in found[0]
    else:
        assert not any(link.startswith(("api/", "code/")) for link in found[:3]), found[:3]


def test_a_formula_in_a_table_is_not_made_smaller_on_a_phone(html: Path, chromium: browser.Browser) -> None:
    chromium.resize(browser.PHONE)
    chromium.open(html / "derivations" / "hidden_statistics.html")
    shares = chromium.run("""[...document.querySelectorAll('td mjx-container > svg')].map(formula => {
      const {width, height} = formula.getBoundingClientRect(), of = name => parseFloat(formula.getAttribute(name));
      return width / height / (of('width') / of('height'));
    })""")
    assert len(shares) > 5
    assert min(shares) > 0.98


def test_a_number_is_never_cut_off_its_formula(html: Path, chromium: browser.Browser) -> None:
    """On a phone a wide formula scrolls, and the number in its margin stays on the screen."""
    chromium.resize(browser.PHONE)
    chromium.open(html / "derivations" / "batch_norm.html")
    edges = chromium.run("[...document.querySelectorAll('span.eqno')].map(e => e.getBoundingClientRect().right)")
    assert len(edges) > 4
    assert all(0 < edge <= browser.PHONE[0] for edge in edges)
    scrolls = "[...document.querySelectorAll('.math > mjx-container')].some(e => e.scrollWidth > e.clientWidth)"
    assert chromium.run(scrolls)
