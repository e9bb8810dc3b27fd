"""Mathematics in docstrings: ``chi^2`` and ``Psi``, readable in a terminal, are set as formulas on the API pages."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

TEX = {
    "E[x^2]": r"\operatorname{E}[x^2]",
    "E[x]^2": r"\operatorname{E}[x]^2",
    "x^2": "x^2",
    "chi^2": r"\chi^2",
    "chi_B^2": r"\chi_B^2",
    "chi_B": r"\chi_B",
    "Psi_B": r"\Psi_B",
    "g_B": "g_B",
    "sigma_B": r"\sigma_B",
    "chi": r"\chi",
    "Psi": r"\Psi",
    "sigma": r"\sigma",
    "alpha": r"\alpha",
    "lambda": r"\lambda",
}
_WORDS = "|".join(map(re.escape, sorted(TEX, key=len, reverse=True)))
# What is code, a role or in another markup already is passed over: reST has no markup within markup.
_TOKEN = re.compile(
    rf"(``.*?``|[:\w]*`[^`]*`_?|\*\*.*?\*\*|\*\S[^*]*\*)|(?<![\w.^*\\=])({_WORDS}|g(?= and Psi))(?![\w(^*=])",
    re.DOTALL,
)

_LITERAL = re.compile(r"^\s*(>>>|===|\.\. )|::$", re.MULTILINE)


def as_formulas(text: str) -> str:
    """The letters of a paragraph as formulas.

    Examples
    --------
    >>> as_formulas("chi^2 of `chi^2` and Psi, not sigma_y nor Psis")
    ':math:`\\chi^2` of `chi^2` and :math:`\\Psi`, not sigma_y nor Psis'
    """
    return _TOKEN.sub(lambda found: found[1] or f":math:`{TEX.get(found[2], found[2])}`", text)


def set_letters(app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Set the letters in all paragraphs that are neither examples nor tables, whose columns would move."""
    if not name.startswith(("mabn_ref.norms", "mabn_ref.nn")):
        return
    paragraphs = re.split(r"(\n\s*\n)", "\n".join(lines))
    shown = [text if _LITERAL.search(text) else as_formulas(text) for text in paragraphs]
    lines[:] = "".join(shown).split("\n")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", set_letters, priority=700)  # after napoleon and `names`
    return {"parallel_read_safe": True, "parallel_write_safe": True}
