"""An argument parser with one-line errors that suggest the nearest name."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mabn_ref.norms import NORMS


class UsageError(ValueError):
    """Wrong arguments, or a wrong file that they name; printed as one line on standard error, with exit code 2."""


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a `ValueError` that the block raises into a `UsageError`; its message names the wrong value."""
    try:
        yield
    except ValueError as error:
        raise UsageError(error) from error


def in_options(message: str, parser: argparse.ArgumentParser | None) -> str:
    """Reword a message about a value, "width is 3, expected ...", to name the option that sets it, if there is one.

    Examples
    --------
    >>> parser = Parser()
    >>> for option in ("--norm", "--norm-batch"):
    ...     _ = parser.add_argument(option)
    >>> in_options("norm_batch is 2 with norm='gn', expected 1", parser)
    'argument --norm-batch: 2 with --norm gn, expected 1'
    """
    actions = [] if parser is None else parser._actions
    known = {action.dest: action.option_strings[0] for action in actions if action.option_strings}
    name, verb, rest = message.partition(" is ")
    if not verb or name not in known:
        return message

    def with_option(said: re.Match[str]) -> str:
        return f"{known[said[1]]} {said[2]}" if said[1] in known else said[0]

    rest = re.sub(r"\b(\w+)='?([\w.-]+)'?", with_option, rest)
    return f"argument {known[name]}: {rest}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, or all of them.

    Examples
    --------
    >>> suggestion("mabn2", ["bn-32", "mabn-2"])
    "did you mean 'mabn-2'? (bn-32, mabn-2)"
    >>> suggestion("x", ["bn-32", "mabn-2"])
    'expected one of bn-32, mabn-2'
    >>> suggestion("batch_norm", ["bn", "mabn"])  # as the module is called
    "did you mean 'bn'? (bn, mabn)"
    """
    known = list(known)
    near = _also_called(name, known) or difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    names = ", ".join(known)
    return f"did you mean {near[0]!r}? ({names})" if near else f"expected one of {names}"


def _also_called(name: str, known: Iterable[str]) -> list[str]:
    """Known names of the normaliser that is called `name` by another command, by its module or in tables."""

    def plain(text: str) -> str:
        return re.sub(r"[\W_]", "", text.rpartition(".")[2].lower())

    groups = [{plain(word) for word in (key, norm.module.__name__, norm.title)} for key, norm in NORMS.items()]
    return [word for names in groups if plain(name) in names for word in known if plain(word) in names]


def name_from(kind: str, known: Iterable[str]) -> Callable[[str], str]:
    """Return an argument type that accepts only the names in `known`; `kind` says in its errors what they name."""
    names = list(known)

    def check(text: str) -> str:
        if text in names:
            return text
        raise argparse.ArgumentTypeError(f"unknown {kind} {text!r}: {suggestion(text, names)}")

    return check


def place(text: str) -> Path:
    """Return a path; refuse the empty one, which would be the current directory."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a path")
    return Path(text)


def ending_in(suffix: str) -> Callable[[str], Path]:
    """Return an argument type: the path of a file whose name ends in `suffix`."""

    def check(text: str) -> Path:
        if not text.endswith(suffix):
            raise argparse.ArgumentTypeError(f"{text!r}, expected a name that ends in {suffix}")
        return place(text)

    return check


def number(kind: type[int] | type[float], at_least: float = 0, at_most: float | None = None) -> Callable[[str], Any]:
    """Return an argument type: a finite number from `at_least` to `at_most`, for integers a billion by default."""
    most = at_most or (10**9 if kind is int else sys.float_info.max)
    expected = f"expected {'an integer' if kind is int else 'a number'} of at least {at_least:g}"

    def check(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}, {expected}") from None
        if not at_least <= value <= most:
            limit = "a finite number" if most == sys.float_info.max else f"at most {most:g}"
            limit = f"expected {limit}" if value > most else expected
            raise argparse.ArgumentTypeError(f"{text}, {limit}")
        return value

    return check


def add_number(
    group: argparse._ActionsContainer,
    option: str,
    kind: type[int] | type[float],
    default: float | None,
    help: str,
    *,
    at_least: float = 0,
    at_most: float | None = None,
    metavar: str = "N",
    **more: Any,
) -> None:
    """Add an option that takes a number; the help ends with its default, unless that is None and set elsewhere."""
    if default is not None:
        help += " (default %(default)s)"
    checked = number(kind, at_least, at_most)
    group.add_argument(option, type=checked, default=default, metavar=metavar, help=help, **more)


def add_name(
    group: argparse._ActionsContainer, option: str, kind: str, known: Iterable[str], help: str, default: Any = None
) -> None:
    """Add an option, or an argument, that takes one of the names in `known`."""
    group.add_argument(option, type=name_from(kind, known), default=default, metavar="NAME", help=help)


def add_place(
    group: argparse._ActionsContainer,
    option: str,
    help: str | None = None,
    default: Path | None = None,
    metavar: str = "DIR",
    **more: Any,
) -> None:
    """Add an option, or an argument, that takes a path."""
    group.add_argument(option, type=place, default=default, metavar=metavar, help=help, **more)


def add_command(
    commands: Any, name: str, run: Callable[[Any], int | None], help: str, description: str, epilog: str = ""
) -> Any:
    """Add a command and return its parser; `run` runs it and returns its exit code, or None for 0."""
    parser = commands.add_parser(name, help=help, description=description, epilog=epilog or None)
    parser.set_defaults(run=run, parser=parser)
    return parser


class Help(argparse.HelpFormatter):
    """Help whose lines break between words only: a name such as --train-size or eval-norm-2 can be copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in self._split_lines(text, width - len(indent)))


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with one-line errors, no abbreviated options, and suggestions for unknown names.

    A word that a positional argument needs is not taken as one more value of the option before it.

    Examples
    --------
    >>> parser = Parser()
    >>> _ = parser.add_argument("folder")
    >>> _ = parser.add_argument("--norms", nargs="+", type=name_from("norm", ["bn", "mabn"]))
    >>> parser.parse_args(["--norms", "bn", "mabn", "out"])
    Namespace(folder='out', norms=['bn', 'mabn'])
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(allow_abbrev=False, **{"formatter_class": Help} | keywords)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        hint = f"; see {self.prog} --help" if "arguments are required" in message else ""
        self.exit(2, f"{self.prog}: error: {message}{hint}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help and version so that an error of standard output is raised: `argparse` would ignore it."""
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse as `argparse` does, after moving to the front the arguments that an option would swallow."""
        return super().parse_known_args(self._arguments_first(sys.argv[1:] if args is None else args), namespace)

    def _arguments_first(self, words: Sequence[str]) -> list[str]:
        """Move to the front the words that an argument needs and an option with many values would take.

        Those are the last words after such options, as many as there are arguments without a word: DIR in
        "--norms mabn DIR", nothing in "DIR --norms mabn". A word that is a valid value of the option stays with it.
        """
        needed = sum(action.nargs is None for action in self._get_positional_actions())
        option, values, taken = None, 0, list[int]()
        for place, word in enumerate(words):
            if word == "--":
                break
            if word.startswith("-"):
                option, values = self._option_string_actions.get(word), 0
                continue
            if option is None or option.nargs == 0 or (option.nargs in (None, "?") and values):
                needed -= 1
            elif option.nargs == "?" or (option.nargs == "+" and values and not self._accepts(option, word)):
                taken.append(place)
            values += 1
        moved = taken[-needed:] if needed > 0 else []
        rest = [word for place, word in enumerate(words) if place not in moved]
        return [*(words[place] for place in moved), *rest]

    def _accepts(self, option: argparse.Action, word: str) -> bool:
        try:
            self._get_value(option, word)
        except argparse.ArgumentError:
            return False
        return True

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse; refuse an unknown option and suggest the nearest one that the command has."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser: argparse.ArgumentParser = getattr(parsed, "parser", self)
            options = [option for option in parser._option_string_actions if option.startswith("--")]
            near = difflib.get_close_matches(unknown[0].partition("=")[0], options, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; {parser.prog} --help lists the options"
            parser.error(f"unknown argument {unknown[0]!r}{hint}")
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = action.metavar or action.dest
            known = [str(choice) for choice in action.choices]
            hint = suggestion(str(value), known)
            raise argparse.ArgumentError(None, f"unknown {str(kind).lower()} {value!r}: {hint}")
