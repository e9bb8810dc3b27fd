"""Programs that send themselves a signal at a chosen call of a function: no clock decides where it finds them."""

from __future__ import annotations

import sys

__all__ = ["HUNG", "program"]

HUNG = 600
"""Seconds after which a program is taken to hang; no test takes a tenth of it, and none fails by how long it took."""

_SCRIPT = """
import importlib, os, signal, sys, threading
from functools import reduce
module, path, left, name, *rest = sys.argv[1:]
*owners, last = path.split(".")
owner = reduce(getattr, owners, importlib.import_module(module))
real, left, lock = getattr(owner, last), int(left), threading.Lock()
def counted(*args, **kwargs):
    global left
    found = real(*args, **kwargs)
    with lock:
        left -= 1
        now = left == 0
    if now:
        os.killpg(0, getattr(signal, name))
    return found
setattr(owner, last, counted)
"""
_COMMAND = "from mabn_ref.cli import main\nsys.exit(main(rest))\n"


def program(call: str, count: int, signal: str, *arguments: str, code: str = _COMMAND) -> list[str]:
    """Return the command of a program that signals its process group after a call.

    Parameters
    ----------
    call : str
        "module:name" or "module:class.name" of the function.
    count : int
        Which call of it, from 1 on.
    signal : str
        "SIGINT", as Ctrl-C in a terminal, or "SIGKILL".
    *arguments : str
        What `mabn-ref` is given.
    code : str
        What to run instead; the arguments are in `rest`.
    """
    module, _, path = call.partition(":")
    return [sys.executable, "-c", _SCRIPT + code, module, path, str(count), signal, *arguments]
