"""The gallery of tutorials: its order, its downloads, and notebooks that Jupyter shows as they are meant."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from mabn_ref.learn.exercise import course
from tests.docs.building import complaints, configuration

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
MACROS = {"E": r"\operatorname{E}", "d": [r"\frac{\partial #1}{\partial #2}", 2]}


def extension(name: str) -> ModuleType:
    """One of docs/ext."""
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs" / "ext")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    return extension("notebooks")


@pytest.fixture(scope="module")
def unrun() -> ModuleType:
    return extension("unrun")


def test_order_is_that_of_the_files(html: Path) -> None:
    page = (html / "tutorials" / "index.html").read_text(encoding="utf-8")
    cards = re.findall(r'class="sphx-glr-thumbcontainer".*?href="([^"#]+)\.html', page, re.DOTALL)
    assert cards == [script.stem for script in SCRIPTS]
    assert page.count('src="../_images/sphx_glr_') == len(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_downloads(html: Path, script: Path) -> None:
    """The script is the file itself; the notebook has its code, and nothing that only Sphinx understands."""
    (copy,) = html.glob(f"_downloads/*/{script.name}")
    assert copy.read_bytes() == script.read_bytes()
    (path,) = html.glob(f"_downloads/*/{script.stem}.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert code.count("def draw(") == 1
    assert "_plots" not in code
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            compile(source, str(path), "exec")
        else:
            assert not re.search(r":\w+:`|^ *\.\. |`_", source, re.MULTILINE), source
            assert not re.search(r"\\(E|Var|Cov|clip|R|d)(?![A-Za-z])", source), source
    assert "<summary>Answers</summary>" in "".join(cells[-1]["source"]) + "".join(cells[-2]["source"])


def test_tutorials_lead_to_their_exercises(html: Path) -> None:
    for exercise in course():
        for number in exercise.tutorials:
            (script,) = (script for script in SCRIPTS if int(script.name[:2]) == number)
            page = (html / "tutorials" / f"{script.stem}.html").read_text(encoding="utf-8")
            assert f'href="../course/{exercise.name}.html"' in page


def test_pages_do_not_tell_the_time(html: Path) -> None:
    assert not list(html.rglob("*execution_times*"))
    for script in SCRIPTS:
        assert "running time" not in (html / "tutorials" / f"{script.stem}.html").read_text(encoding="utf-8")
    for path in html.glob("_downloads/*/*.zip"):
        with zipfile.ZipFile(path) as archive:
            assert "_plots.py" in archive.namelist()
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_markdown(notebooks: ModuleType) -> None:
    text = (
        "See :eq:`bn-backward` (4), :doc:`the page </derivations/a>` and `name`: $\\E[x] \\Eta \\d{L}{x_{b}}$.\n\n"
        ".. admonition:: Answers\n   :collapsible: closed\n\n   1. One,\n      two.\n\n   2. Three.\n\nEnd."
    )
    assert notebooks.markdown(text, MACROS) == (
        "See `bn-backward` (4), the page and `name`: $\\operatorname{E}[x] \\Eta "
        "\\frac{\\partial L}{\\partial x_{b}}$.\n\n"
        "<details><summary>Answers</summary>\n\n1. One,\n   two.\n\n2. Three.\n\n</details>\n\nEnd."
    )
    assert notebooks.markdown(notebooks.markdown(text, MACROS), MACROS) == notebooks.markdown(text, MACROS)


def test_a_box_becomes_a_quotation(notebooks: ModuleType) -> None:
    text = "Before.\n\n.. admonition:: Predict before you run\n   :class: predict\n\n   Is it\n   $x$?\n\nAfter."
    assert notebooks.markdown(text, MACROS) == (
        "Before.\n\n> **Predict before you run**\n>\n> Is it\n> $x$?\n\nAfter."
    )


def test_of_a_drawing_it_says_where_it_is(notebooks: ModuleType) -> None:
    text = "Follow the arrows:\n\n.. graph:: batch_norm\n\nThen"
    assert notebooks.markdown(text, MACROS) == (
        "Follow the arrows:\n\n*(The drawing is on the page of this tutorial.)*\n\nThen"
    )


def test_a_record_stands_under_its_cells(unrun: ModuleType) -> None:
    code = ".. GENERATED FROM PYTHON SOURCE LINES 1-2\n\n.. code-block:: Python\n\n    {}\n\n\n"
    page = "Title\n=====\n\n" + "".join(code.format(line) for line in ("a()", "b = 1", "c()")) + "The end.\n"
    shown = unrun.with_record(page, "of a\n# %%\n# %%\nof c\nand c\n")
    assert shown.count("sphx-glr-script-out") == 2
    parts = ["PyTorch", "a()", "\n    of a\n", "b = 1", "c()", "\n    of c\n    and c\n", "The end"]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    with pytest.raises(ValueError, match="1 cells more"):
        unrun.with_record(page, "1\n# %%\n2\n# %%\n3\n# %%\n4\n")


def test_the_page_of_pytorch_shows_what_its_script_prints(html: Path) -> None:
    """Run or recorded."""
    page = (html / "tutorials" / "11_checking_a_pytorch_layer.html").read_text(encoding="utf-8")
    assert len(re.findall('<div class="sphx-glr-script-out', page)) == 6
    assert "conforms: False" in page


def test_archives_are_the_same_in_every_build(notebooks: ModuleType, tmp_path: Path) -> None:
    made = []
    for year in (2001, 2002):
        folder = tmp_path / str(year)
        folder.mkdir()
        (folder / "a.py").write_text("print(1)\n")
        (folder / "_plots.py").write_text("print(2)\n")
        with zipfile.ZipFile(folder / "all.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo("a.py", date_time=(year, 1, 1, 0, 0, 0)), "print(1)\n")
        for _ in range(2):
            notebooks.pack(folder / "all.zip", folder / "_plots.py")
        made.append((folder / "all.zip").read_bytes())
        shutil.unpack_archive(folder / "all.zip", folder / "unpacked")
        assert (folder / "unpacked" / "a.py").read_text() == "print(1)\n"
        assert (folder / "unpacked" / "_plots.py").read_text() == "print(2)\n"
    assert made[0] == made[1]


def test_code_of_figures_is_folded(tmp_path: Path) -> None:
    (tmp_path / "tutorials").mkdir()
    (tmp_path / "conf.py").write_text(configuration("folded"))
    code = ".. code-block:: Python\n\n   {}draw(\n       1,\n   )\n\n"
    page = "Title\n=====\n\n" + code.format("x = 1\n   ") + code.format("")
    (tmp_path / "index.rst").write_text(page + "\n.. toctree::\n\n   tutorials/one\n")
    (tmp_path / "tutorials" / "one.rst").write_text(page)
    assert complaints(tmp_path) == ""
    html = [(tmp_path / "html" / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "tutorials/one")]
    assert [text.count("<summary>Code of the figure</summary>") for text in html] == [0, 2]
    assert [text.count('class="highlight"') for text in html] == [2, 3]
