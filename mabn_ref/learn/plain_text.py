"""A statement as text for a terminal: Markdown wrapped to its width, mathematics in Unicode instead of LaTeX."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from html.entities import html5

_LETTERS = "alpha approx beta chi epsilon eta gamma ge lambda leftarrow longrightarrow mu pm propto Psi rho sigma xi"
"""LaTeX commands with the same names as HTML characters."""
_SYMBOLS = {name: html5[f"{name};"] for name in _LETTERS.split()}
_SYMBOLS |= {"cdot": "·", "dots": "…", "max": "max", "partial": "∂", "sum": "Σ", "to": "→"}
_SYMBOLS |= {"qquad": "\n", "quad": "\n", ",": " ", ";": " ", " ": " "}
_SYMBOLS |= dict.fromkeys(("left", "right", "Big", "bigg"), "")  # the size of the parenthesis that follows
_ACCENTS = {"hat": "\u0302", "bar": "\u0304"}
_RAISED = str.maketrans("0123456789c*", "⁰¹²³⁴⁵⁶⁷⁸⁹ᶜ*")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_CASES = re.compile(r"\\begin\{cases\}(.*?)\\end\{cases\}", re.DOTALL)
_ITEM = r"\n(?=- |Tutorials?: )"
_KEPT = 30
"""The longest formula or piece of code, in characters, that is kept on one line."""
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}^_]|\s+|[^\\{}^_\s]", re.DOTALL)


def unicode_maths(tex: str) -> str:
    r"""A formula of the statements without LaTeX: one line for each that ``\qquad`` sets apart.

    Raises
    ------
    ValueError
        If it has a command that is not known here.

    Examples
    --------
    >>> print(unicode_maths(r"\frac{\partial L}{\partial x_b} = \frac{1}{\sigma} \left( u_b - g - y_b \Psi \right)"))
    ∂L/∂x_b = 1/σ (u_b - g - y_b Ψ)
    >>> print(unicode_maths(r"\sigma = \sqrt{\hat v + \epsilon}, \qquad v = \frac1M \sum_{b=1}^M (x_b - \mu)^2"))
    σ = √(v̂ + ε),
    v = 1/M Σ[b = 1 … M] (x_b - μ)²
    """
    tex = _CASES.sub(_cases, tex)
    text = _Reader(_TOKEN.findall(tex)).rest()
    lines = [re.sub(r"\s+([,.;)\]])", r"\1", " ".join(line.split())) for line in text.split("\n")]
    return "\n".join(re.sub(r"([(\[])\s+", r"\1", line) for line in lines if line)


def _cases(found: re.Match[str]) -> str:
    r"""The rows of a ``cases`` environment, one after the other."""
    rows = [row.split("&") for row in found.group(1).split(r"\\")]
    return r" \text{, } ".join(rf"{value} \text{{ if }} {condition}" for value, condition in rows)


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]

    def rest(self, end: str = "") -> str:
        """Everything up to `end`."""
        said = ""
        while self.tokens and self.tokens[-1] != end:
            token = self.tokens.pop()
            if token == "_":
                said += self._lowered(said)
            elif token == "^":
                said += self._raised(self._argument())
            else:
                said += self._one(token)
        if end:
            self.tokens.pop()
        return said

    def _argument(self) -> str:
        """What a command or a script applies to: a group in braces, or the next token."""
        self._skip_spaces()
        return self._one(self.tokens.pop())

    def _skip_spaces(self) -> None:
        while self.tokens and self.tokens[-1].isspace():
            self.tokens.pop()

    def _one(self, token: str) -> str:
        if token == "{":
            return self.rest("}")
        if token.isspace():
            return " "
        if not token.startswith("\\"):
            return token
        name = token[1:]
        if name == "partial":
            self._skip_spaces()
        if name in _SYMBOLS:
            before_a_letter = bool(self.tokens) and self.tokens[-1].isalpha()
            return _SYMBOLS[name] + (" " if name == "max" and before_a_letter else "")
        if name in _ACCENTS:
            return unicodedata.normalize("NFC", self._argument() + _ACCENTS[name])
        if name in ("text", "mathrm"):
            return self._argument()
        if name == "frac":
            above, below = self._argument(), self._argument()
            return f"{_whole(above)}/{_whole(below)}"
        if name == "sqrt":
            return f"√{_whole(self._argument())}"
        raise ValueError(f"unknown command {token} in a formula")

    def _lowered(self, before: str) -> str:
        script = self._argument().strip()
        if before.endswith("Σ"):
            bounds = script.replace("=", " = ").split()
            if self.tokens and self.tokens[-1] == "^":
                self.tokens.pop()
                bounds += ["…", self._argument()]
            return f"[{' '.join(bounds)}]" if len(bounds) > 1 else f"_{script}"
        if script.isdigit():
            return script.translate(_LOWERED)
        if script.startswith("["):
            return script
        return f"_{script}" if script.isalnum() else f"_({script})"

    def _raised(self, script: str) -> str:
        return script.translate(_RAISED) if re.fullmatch(r"[\dc*]", script) else f"^{_whole(script)}"


def _whole(text: str) -> str:
    """A part of a formula in parentheses, unless it needs none."""
    text = " ".join(text.split())
    return text if re.fullmatch(r"[^\s+\-=/|<>]+(\([^()]*\))?[²]?", text) else f"({text})"


def as_text(markdown: str, width: int) -> str:
    """A statement, its paragraphs wrapped to a width, its formulas and its code indented.

    Examples
    --------
    >>> print(as_text("# Mean\\n\\nOf values $x_b$ it is\\n\\n$$\\\\mu = \\\\frac1M \\\\sum_b x_b .$$\\n", 40))
    Mean
    ====
    <BLANKLINE>
    Of values x_b it is
    <BLANKLINE>
        μ = 1/M Σ_b x_b.
    """
    blocks = re.split(r"(^```.*?^```$|^ *\$\$.*?\$\$)", markdown, flags=re.DOTALL | re.MULTILINE)
    shown = [text for block in blocks for text in _block(block, width)]
    return "\n\n".join(shown)


def _block(block: str, width: int) -> list[str]:
    if block.startswith("```"):
        return [textwrap.indent("\n".join(block.splitlines()[1:-1]), "    ")]
    if block.strip().startswith("$$"):
        lines = unicode_maths(block.strip().strip("$")).splitlines()
        return [
            "\n".join(textwrap.fill(line, width, initial_indent="    ", subsequent_indent=" " * 8) for line in lines)
        ]
    paragraphs = [text for text in re.split(r"\n\s*\n", block.strip("\n")) if text.strip()]
    return ["\n".join(_paragraph(item, width) for item in re.split(_ITEM, text)) for text in paragraphs]


def _paragraph(text: str, width: int) -> str:
    if text.startswith("# "):
        title = _inline(text[2:].strip())
        return f"{title}\n{'=' * len(title)}"
    indent = "  " if text.startswith(("- ", "  ")) else ""
    text = _inline(" ".join(text.split()))
    lines = textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\u00a0", " ")


def _inline(text: str) -> str:
    """A line of text with its formulas in Unicode and without marks of emphasis."""
    pieces = re.split(r"(`[^`]*`|\$[^$]*\$)", text)
    for k, piece in enumerate(pieces):
        if piece.startswith("$"):
            pieces[k] = _kept(unicode_maths(piece.strip("$")))
        elif piece.startswith("`"):
            pieces[k] = _kept(piece)
        else:
            pieces[k] = re.sub(r"(\*+)(\w[^*]*)\1", r"\2", piece)
    return "".join(pieces)


def _kept(text: str) -> str:
    """A short piece with non-breaking spaces, so that no line breaks in it."""
    return text.replace(" ", "\u00a0") if len(text) <= _KEPT else text


def shown(text: str, kept: str = "") -> str:
    """Text as one printable line: other characters are written as escapes, except those in `kept`.

    The backslash is escaped too, so that no two texts look alike; in lines of code it should be kept.

    Examples
    --------
    >>> print(shown("Zoë\\n\\x1b[2J"), shown("a  b"))
    Zoë\\n\\x1b[2J a  b
    """
    return "".join(
        letter if letter in kept or (letter.isprintable() and letter != "\\") else ascii(letter)[1:-1]
        for letter in text
    )
