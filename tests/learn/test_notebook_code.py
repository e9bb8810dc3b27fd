"""What of a notebook is the student's code: what Jupyter would run of it, the checks left out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from mabn_ref.learn import notebook
from mabn_ref.learn.exercise import find
from mabn_ref.learn.notebook_code import notebook_source

MOMENTS = find("moments")


def source(*cells: tuple[str, str], asked: Sequence[str] = ()) -> str:
    """The code of a notebook with these cells, each with its mark."""
    made = [{"cell_type": "code", "source": code, "metadata": {"mabn_ref": mark}} for mark, code in cells]
    return notebook_source(json.dumps({"cells": made}), asked)


OF_JUPYTER = {
    "%time f()\n!!ls \\\n  -l\nx = 1": "\n\n\nx = 1",
    "%%time\nx = 1": "\nx = 1",
    "%%bash\nls": "",
    "if a:\n    !echo it's\n    %ls\ny = 2": "if a:\n    pass\n    pass\ny = 2",
    "t = %timeit -o f('\n    files = !ls (\ny = 2": "t = None\n    files = None\ny = 2",
    "np.mean?\nnp.mean??  \n?np.mean\nx = f[0]?": "\n\n\n",
    "from mabn_ref.learn import notebook\nnotebook.check(\n    'x', globals()\n)\nx = 1": "\n\n\n\nx = 1",
}
OF_PYTHON = (
    "k = (n\n    % (n + 1)\n    != 2)",
    "k = n \\\n    % 2",
    "s = '''it's\n% of\n! note\nwhy?\n'''",
    's = "\\""; t = """\\"""\n%"""',
    "s = 'a\u2028b\x0cc\x85d'",
    "x %= 2  # why?",
    "x = {'a': '=%', '?': b'!'}",
    "f'{x=!r}'\n# files = !ls",
    "x = (1,  # it's :(\n    2)\nassert x != 1",
)


@pytest.mark.parametrize("code", OF_JUPYTER)
def test_what_only_jupyter_runs_is_left_out_and_lines_stay_where_they_are(code: str) -> None:
    assert source(("answer", code)) == OF_JUPYTER[code].rstrip("\n")
    assert source(("answer", f"{code}\n# end")).endswith("# end" if OF_JUPYTER[code] else "")


@pytest.mark.parametrize("code", OF_PYTHON)
def test_what_is_python_stays_as_it_is(code: str) -> None:
    assert source(("answer", code)) == code
    compile(code, "cell", "exec")


def test_what_the_answer_uses_of_other_cells_comes_along() -> None:
    other = (
        "import numpy as np, matplotlib\nimport torch  # np\nfrom math import (\n    pi,\n)\n\nEPS: float = 1e-5\n"
        "x = np.loadtxt('x')\n@cached  # memory\n@wraps\ndef axes(x):\n\n    return around(x)\n\nplot(axes(x))\n"
        "def around(x): return 1\nclass Unused: pass\ndef moments(x): return 0\n"
    )
    answer = "def moments(x):\n    # torch, Unused\n    return np.mean(x, axes(x)), x.torch * 'torch' + EPS * pi\n"
    eps = guarded("EPS: float = 1e-5\n")
    assert source(("", other), ("answer", answer), ("", "%pylab\nplot()")) == (
        "import numpy as np\nfrom math import (\n    pi,\n)\n\n"
        f"{eps}"
        "@cached  # memory\n@wraps\ndef axes(x):\n\n    return around(x)\n\ndef around(x): return 1\n\n"
        f"{answer}".rstrip("\n")
    )


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np, not_there.at_all as plt",
        "import not_there; import numpy as np",
        "import not_there as a,numpy as np  # both",
    ],
)
def test_of_modules_on_one_line_only_those_that_are_read_have_to_be_there(line: str) -> None:
    names: dict[str, Any] = {}
    exec(source(("", line), ("answer", "def f(x): return np.mean(x)"), ("check", "")), names)
    assert names["f"]([1, 3]) == 2


@pytest.mark.parametrize("other", ["show(\n    f=f,\n)\n", "from m import f as g\n", "if f(1) == 1:\n    pass\n"])
def test_what_only_mentions_a_function_does_not_define_it(other: str) -> None:
    answer = "def f(x): return x"
    assert source(("answer", answer), ("", other)) == answer


@pytest.mark.parametrize("head", ["if np.ndim(1) == 0:\n", "try:\n    1 / 0\nexcept ZeroDivisionError:\n"])
def test_a_function_that_is_asked_for_may_stand_in_a_branch(head: str) -> None:
    answer, branch = "import numpy as np\n", f"{head}    def moments(x):\n        return x\n"
    for cells in ([branch], ["def moments(x): return 0\n", "x = 1\n", branch]):
        marked = [("answer", answer), *(("", cell) for cell in cells), ("check", "")]
        names: dict[str, Any] = {}
        exec(source(*marked, asked=["moments"]), names)
        assert names["moments"](2) == 2


def test_a_method_in_a_branch_is_no_function() -> None:
    method = "    class Layer:\n        def f(self): return 1\n\n        def g(self): return 2\n"
    answer, again = f"if True:\n{method}    def g(): return 3\n", f"for k in 1, 2:\n{method}    train(Layer())\n"
    other = "def f(): return 4\n"
    names: dict[str, Any] = {}
    code = source(("", other), ("answer", answer), ("", again), ("check", ""), asked=["f", "g"])
    exec(code, names)
    assert (names["f"](), names["g"]()) == (4, 3)


def guarded(block: str) -> str:
    return f"try:\n    exec({block!r})\nexcept Exception:\n    pass\n"


@pytest.mark.parametrize(
    ("other", "expression"),
    [
        ("two = 2", "two"),
        ("ONE, two = 1, 2", "two"),
        ("two = 1\ntwo += 1", "two"),
        ("if True:\n    two = 2\nelse:\n    two = 3", "two"),
        ("if True:\n    def twice(x): return 2 * x\n", "twice(1)"),
        ("twice = lambda x: 2 * x", "twice(1)"),
        ("one = 1\nmore = lambda x: x + one", "more(1)"),
        ("from math import *", "round(e) - 1"),
        ("try:\n    import numpy as np\nexcept ImportError:\n    raise", "int(np.sqrt(4))"),
        ("import json\ntwo = json.loads('2')", "two"),
        ("two = 2\nimport nothing_like_that\ntwo = 3\ntwo = nothing_like_that", "two - 1"),
        ("(one, two), [three] = (1, 2), [3]", "two"),
        ("one = two = 2", "two"),
        ("one = 1; two = 2", "two"),
        ("if True: two = 2", "two"),
        ("for two in (1, 2):\n    pass", "two"),
        ("from contextlib import nullcontext\nwith nullcontext(2) as two:\n    pass", "two"),
        ("match 2:\n    case two:\n        pass", "two"),
        ("max(0, two := 2)", "two"),
        ("twos = []\ntwos.append(2)", "twos[0]"),
        ("twos = {}\ntwos['two'] = 2", "twos['two']"),
        ("class Two: pass\nfor value in (1, 2):\n    Two.value = value", "Two.value"),
        ("twos = {}\nfor two in (1, 2):\n    twos[two] = two", "twos[2]"),
        ("twos = []\nif True:\n    twos.append(2)", "twos[0]"),
        (f"twos = [2, {'0.5, ' * 30_000}]", "twos[0]"),
        ("two = 2", "int(f'{two}')"),
        ("two = 2", "(lambda n=two: n)()"),
        ("two = 2", "(lambda two: two)(1) + two - 1"),
    ],
)
def test_what_the_answer_reads_is_computed_whatever_else_fails(other: str, expression: str) -> None:
    answer = f"def answer(x):\n    y = {expression}\n    return y\n"
    code = source(("", f"x = y = 1 / 0\n{other}\nplot(two)"), ("answer", answer))
    assert "1 / 0" not in code
    names: dict[str, Any] = {}
    exec(code.replace("import nothing_like_that", "nothing_like_that = 3"), names)
    assert names["answer"](0) == 2


def test_what_stands_for_an_argument_that_is_left_out_is_read() -> None:
    names: dict[str, Any] = {}
    exec(source(("", "two = 2"), ("answer", "def answer(x, n=two):\n    return n")), names)
    assert names["answer"](0) == 2


def test_a_cell_may_be_indented_as_a_whole() -> None:
    cell = "\n\n    def moments(x):\n        return x\n    # end"
    assert source(("answer", cell)) == "\n\ndef moments(x):\n    return x\n# end"
    assert source(("", "  two = 2"), ("answer", "two")).startswith("try:\n    exec('two = 2")


@pytest.mark.parametrize(
    "line", [" " * 50_000 + "\\\n two", "import " + "a." * 450_000 + "a"], ids=["spaces", "dots"]
)
def test_no_line_keeps_whoever_grades_waiting(line: str) -> None:
    """A pattern that tries all ways to divide the spaces took minutes, and hours for all that a notebook may have."""
    started = time.process_time()
    assert source(("", line), ("answer", "two = 2")) == "two = 2"
    assert time.process_time() - started < 20


@pytest.mark.parametrize("kind", notebook.FORMATS)
def test_cells_that_check_are_known_without_their_marks(kind: str) -> None:
    book: dict[str, Any] = notebook.as_notebook(MOMENTS, kind)
    cells = [("", cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert source(*cells) == MOMENTS.skeleton.strip()
