"""Configuration of the documentation. Building needs no network: ``sphinx-build -W -n -b html docs docs/_build``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "ext")]

import matplotlib  # noqa: E402
import scan  # noqa: E402

from mabn_ref import __version__  # noqa: E402
from mabn_ref.learn.exercise import course  # noqa: E402

project = "mabn_ref"
author = "The mabn_ref authors"
copyright = "the mabn_ref authors"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
    "shared_arguments",
    "names",
    "letters",
    "local_scripts",
    "equations",
    "annotated",
    "api",
    "sidebar",
    "catalogue",
    "exercises",
    "computed",
    "graphs",
    "by_hand",
    "pictures",
    "recorded",
    "sphinx_gallery.gen_gallery",
    "notebooks",
    "unrun",
    "folded",
    "benchmarks",
    "plots",
]
tutorials = HERE / "tutorials"  # generated from the scripts in ROOT / "tutorials"
_shared = [*(ROOT / "mabn_ref").rglob("*.py"), ROOT / "tutorials" / "_plots.py"]
sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "tutorials"),
    "gallery_dirs": tutorials.name,
    "filename_pattern": "|".join(path.name for path in scan.scripts(ROOT) if path not in scan.recorded(ROOT)),
    "ignore_pattern": r"_plots\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": (),
    "inspect_global_variables": False,
    "remove_config_comments": True,
    # A script that has not changed is not run again, unless what it imports has.
    "run_stale_examples": max(path.stat().st_mtime for path in _shared)
    > min((path.stat().st_mtime for path in tutorials.glob("*.py.md5")), default=0),
    "first_notebook_cell": '# In a copy of the repository, before Jupyter is started: pip install -e ".[run]"',
    # Nothing that differs from build to build.
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "show_signature": False,
}
exclude_patterns = ["_build", "ext"]
nitpicky = True
default_role = "name"
numfig = True
rst_epilog = f"""
.. |paper-numbers| replace:: Numbers in the margin are the paper's, so they do not run in order.
.. |exercises| replace:: {len(course())}
"""

source_root = str(ROOT)
trace_exempt = {
    "population": "what a batch estimates: no code can compute it",
    "weak-convergence": "an assumption of Theorem 1",
    "ema-moments": "a statement of Theorem 1",
    "slow-change": "an assumption of Theorem 1",
    "sma-moments": "a statement of Theorem 1",
    "theorem-2": "a statement that does not hold",
    "exchangeable": "a step of a proof",
    "theorem-2-repaired": "a theorem",
    "gradient-statistics-oracle": "an oracle of tests",
    "mabn-one-call": "an oracle of tests",
    "mabn-adjoint": "an oracle of tests",
    "mabn-r-one-call": "an oracle of tests",
    "mabn-r-adjoint": "an oracle of tests",
    "one-scale": "a step of a proof",
    "weight-gradient-noise": "a statement on variances",
    "moving-one-call": "an oracle of tests",
}

# An equation's name is its reference, and the number in its margin is the paper's: no second numbering beside it.
math_numfig = False
math_eqref_format = "{number}"
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {
    "tex": {
        "macros": {
            "E": r"\operatorname{E}",
            "Var": r"\operatorname{Var}",
            "Cov": r"\operatorname{Cov}",
            "clip": r"\operatorname{clip}",
            "R": r"\mathbb{R}",
            "d": [r"\frac{\partial #1}{\partial #2}", 2],
        }
    }
}

autodoc_preserve_defaults = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [
    ("Attributes", "params_style"),
    ("To imitate the authors' code", "params_style"),
]

_PYTHON = "https://docs.python.org/3/library"
outside_names = (
    {
        "numpy.random.Generator": "https://numpy.org/doc/stable/reference/random/generator.html",
    }
    | {
        f"collections.abc.{name}": f"{_PYTHON}/collections.abc.html#collections.abc.{name}"
        for name in ("Callable", "Iterable", "Iterator", "Mapping", "Sequence")
    }
    | {
        name: f"{_PYTHON}/exceptions.html#{name}"
        for name in ("TypeError", "ValueError", "ImportError", "OSError", "ConnectionError", "AssertionError")
    }
)

html_theme = "furo"
html_theme_options = {"light_css_variables": {"color-code-background": "#f8f9fb"}}  # code has an edge on a white page
html_title = "mabn_ref"
# Where the pages are published: said once, in pyproject.toml.
_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
html_baseurl = _project.get("urls", {}).get("Documentation", "")
html_static_path = ["_static"]
html_css_files = ["custom.css", "doors.css", "drawings.css"]
html_search_scorer = str(HERE / "_static" / "search_order.js")
html_copy_source = False
html_show_sphinx = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 200)]
plot_rcparams = dict(matplotlib.rc_params_from_file(HERE / "figures" / "pages.mplstyle", use_default_template=False))
