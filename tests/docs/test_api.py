"""The API pages show with every function what is said once for all of them."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.arrays import namespace
from mabn_ref.norms import NORMS, batch_norm, mabn_variants
from tests.docs.building import EXTENSIONS, complaints, configuration


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The extension that adds what normalisers share."""
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    monkeypatch.syspath_prepend(EXTENSIONS)
    return importlib.import_module("shared_arguments")


@pytest.mark.docs
@pytest.mark.parametrize("name", [*NORMS, "mabn_variants"])
def test_every_function_of_a_normaliser_shows_its_arguments_results_and_errors(shared: Any, name: str) -> None:
    module = NORMS[name].module if name in NORMS else mabn_variants
    functions = [f for f in vars(module).values() if inspect.isfunction(f) and shared.results(f)]
    assert {"init", "statistics", "forward", "gradient_statistics", "backward", "infer"} <= {
        f.__name__ for f in functions
    }
    for function in functions:
        lines = ["What it does."]
        shared.add_sections(None, "function", function.__name__, function, None, lines)
        text = "\n".join(lines)
        assert {"Parameters", "Returns", "Raises"} <= set(lines)
        for argument in inspect.signature(function).parameters:
            assert re.search(rf"^(\w+, )*{argument}\b", text, re.MULTILINE), (function.__name__, argument)
        assert ("OverflowError" in text) == ("x" in inspect.signature(function).parameters)
    settings = dict(NORMS[name].settings) if name in NORMS else {}
    if "norm_batch" in module.Config.__dataclass_fields__:
        settings["norm_batch"] = 2
    found = module.statistics(np.ones((4, 2, 32)), module.Config(**settings))
    assert shared.results(module.statistics) == (["mu", "var"] if isinstance(found, tuple) else ["chi2"])


@pytest.mark.docs
def test_a_function_keeps_its_own_sections_and_a_config_gets_its_notes(shared: Any) -> None:
    lines = ["Returns", "-------", "its own"]
    shared.add_sections(None, "function", "forward", batch_norm.forward, None, lines)
    assert lines.count("Returns") == 1
    assert "z : array" not in "\n".join(lines)
    lines = []
    shared.add_sections(None, "class", "Config", batch_norm.Config, None, lines)
    at = lines.index("decay : a number in [0, 1) or None")
    assert lines[at + 1].startswith("    old value's weight; None: ")
    assert shared.IMITATION not in lines
    lines = []
    shared.add_sections(None, "class", "Config", mabn_variants.Config, None, lines)
    the_papers, _, imitation = "\n".join(lines).partition(shared.IMITATION)
    assert "window : an integer of at least 1" in the_papers
    assert re.findall(r"^(\w+) : ", imitation, re.MULTILINE)[:3] == ["warmup", "renorm_from", "partial_window"]
    lines = []
    shared.add_sections(None, "class", "State", batch_norm.State, None, lines)
    shared.add_sections(None, "function", "namespace", namespace, None, lines)
    assert lines == []


@pytest.mark.docs
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("chi^2 in forward, Psi in backward.", r":math:`\chi^2` in forward, :math:`\Psi` in backward."),
        ("the g and Psi of it", r"the :math:`g` and :math:`\Psi` of it"),
        ("in [1 / lambda, lambda]", r"in [1 / :math:`\lambda`, :math:`\lambda`]"),
        ("no `Psi`, ``chi^2`` or :eq:`Psi`, no Psis, psi or state.sigma",) * 2,
        ("* **ema_of** (*'sigma' or Psi*) -- y * dy of it",) * 2,
        ("y * dy and x * Psi", r"y * dy and x * :math:`\Psi`"),
        (">>> Psi = 1",) * 2,
        ("===\nPsi\n===",) * 2,
    ],
)
def test_letters_in_docstrings_are_set_as_formulas_and_code_is_not(shared: Any, written: str, shown: str) -> None:
    letters, lines = importlib.import_module("letters"), written.split("\n")
    letters.set_letters(None, "function", "mabn_ref.norms.mabn.forward", None, None, lines)
    assert "\n".join(lines) == shown


@pytest.mark.docs
def test_values_that_are_no_python_or_long_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "constants.py").write_text(
        "import math, pathlib\n"
        "SHORT = 24.5  #: shown\n"
        "MODULES = {'a': math}  #: not\n"
        "CALLS = (len, 24.5)  #: not\n"
        "PLACE = pathlib.Path('/home/24.5')  #: not\n"
        f"LONG = {[24.5] * 60}  #: not\n"
    )
    (tmp_path / "conf.py").write_text(configuration("sphinx.ext.autodoc", "names"))
    (tmp_path / "index.rst").write_text("Constants\n=========\n\n.. automodule:: constants\n   :members:\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert complaints(tmp_path) == ""
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert page.count("24.5") == 1
    assert all(name in page for name in ("SHORT", "MODULES", "CALLS", "PLACE", "LONG"))
