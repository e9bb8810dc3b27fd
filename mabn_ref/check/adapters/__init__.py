"""Make a target from something else: a dotted path, a module, a layer of a framework."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from mabn_ref.check.adapters.arguments import by_name
from mabn_ref.check.target import FunctionsTarget, Target, last_own_line

_ADAPTERS = {
    "keras": ("keras_layers", "KerasTarget"),
    "flax.linen": ("flax_modules", "LinenTarget"),
    "flax.nnx": ("flax_modules", "NnxTarget"),
    "torch": ("pytorch_probes", "ProbedTorchTarget"),
    "init and apply": ("jax_functions", "JaxTarget"),
    "forward and backward": ("numpy_classes", "NumpyTarget"),
}
"""By the origin of a layer's class: module and class of its adapter, imported only when needed."""
_ANY = SimpleNamespace(
    eps=1e-5, norm_batch=2, decay=0.9, window=4, clip=5.0, warmup=0, renorm_from=1, r_max=3.0, d_max=5.0
)
"""Settings with which a function is called once, to see what it makes."""


def load(path: str) -> Any:
    """Import the object that a dotted path names.

    Parameters
    ----------
    path : str
        For example "my_package.norms:MyMABN2d", or with the file, "my_package/norms.py:MyMABN2d"; without a colon, a
        module. The current directory is searched first.

    Raises
    ------
    ValueError
        If there is no such module, or nothing of that name in it.

    Examples
    --------
    >>> load("mabn_ref.norms:mabn").__name__
    'mabn_ref.norms.mabn'
    """
    drive = path[:2] if re.match(r"[A-Za-z]:[\\/]", path) else ""  # on Windows
    module_name, _, name = path.removeprefix(drive).partition(":")
    module_name = drive + module_name
    if not module_name.strip("."):
        raise ValueError(f"target is {path!r}, expected a module and a name in it, such as my_package.norms:MyMABN2d")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    file = _file(module_name)
    if file is not None and not file.is_file():
        raise ValueError(f"target is {path!r}, but there is no file {file}")
    try:
        found: Any = _imported(file) if file else importlib.import_module(module_name)
    except SyntaxError as error:
        raise ValueError(f"target is {path!r}, but {error.filename}, line {error.lineno}: {error.msg}") from error
    except ModuleNotFoundError as error:
        if error.name == "tensorflow" and any(name.startswith("keras.src.") for name in sys.modules):
            raise ValueError(
                f"target is {path!r}, but Keras runs on TensorFlow unless told otherwise, which is not installed: "
                "set the environment variable KERAS_BACKEND to torch or jax"
            ) from error
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise ValueError(f"target is {path!r}, but {_where(error)}") from error
        above, _, last = module_name.rpartition(".")  # a class, as Python writes it: torch.nn.BatchNorm2d
        meant = f"; did you mean '{above}:{last}'?" if hasattr(sys.modules.get(above), last) else ""
        raise ValueError(f"target is {path!r}, but there is no module {error.name!r} here{meant}") from error
    except Exception as error:
        raise ValueError(f"target is {path!r}, but {_where(error)}") from error
    for part in filter(None, name.split(".")):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [known for known in dir(found) if known[0] != "_"], n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"target is {path!r}, but {module_name} has no {name!r}{meant}")
        found = getattr(found, part)
    return found


def _where(error: Exception) -> str:
    """The error raised while a file ran, with its file and line."""
    line = last_own_line(error)
    return (f"{line.filename}, line {line.lineno}: " if line else "") + f"{type(error).__name__}: {error}"


def _file(name: str) -> Path | None:
    """The Python file that a path names; None if it is a module."""
    if "/" not in name and "\\" not in name and not name.endswith(".py"):
        return None
    return Path(name if name.endswith(".py") else f"{name}.py").resolve()


def _imported(file: Path) -> ModuleType:
    """A Python file as a module."""
    above, parts = file.parent, [file.stem]
    while (above / "__init__.py").is_file():  # part of a package: its relative imports must work
        above, parts = above.parent, [above.name, *parts]
    if str(above) not in sys.path:
        sys.path.insert(0, str(above))
    found = sys.modules.get(".".join(parts))
    if found is not None and Path(getattr(found, "__file__", None) or "").resolve() == file:
        return found
    if len(parts) > 1:
        return importlib.import_module(".".join(parts))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = made
    spec.loader.exec_module(made)
    return made


def adapt(
    thing: Any, extra: Mapping[str, Any] | None = None, axis: int | None = None, call: Mapping[str, Any] | None = None
) -> Target:
    """Make a target from an object.

    Parameters
    ----------
    thing : object
        A `Target`; a module with the functions of `mabn_ref.norms`; one with ``init`` and ``apply`` of JAX; a layer
        class of PyTorch, Flax or Keras 3, or a class of NumPy with ``forward`` and ``backward``; an instance of one,
        or a function of the number of channels that returns one.
    extra : mapping, optional
        Keywords for its constructor.
    axis : int, optional
        The axis of the channels, for a layer of PyTorch or NumPy; found automatically by default.
    call : mapping, optional
        Keywords for every call of a framework's layer; the values "training" and "inference" stand for the mode.

    Returns
    -------
    Target

    Raises
    ------
    TypeError
        If it is none of these, or if `axis` or `call` is given and the target takes none.

    Examples
    --------
    >>> from mabn_ref.norms import mabn
    >>> type(adapt(mabn)).__name__
    'FunctionsTarget'
    """
    found = _adapted(thing, extra)
    always = "its functions are always called with the same arguments"
    for name, value, why in (("axis", axis, "arrays are channels last"), ("call", call or None, always)):
        if value is None:
            continue
        if not hasattr(found, name):
            raise TypeError(f"{name} is {value!r}, but {type(found).__name__} takes none: {why}")
        setattr(found, name, value)
    if axis is not None:
        found.axes = (axis,)  # type: ignore[attr-defined]
    return found


def _adapted(thing: Any, extra: Mapping[str, Any] | None) -> Target:
    if isinstance(thing, type) and isinstance(thing, Target) and len(signature(thing.make).parameters) == 3:
        thing = thing(**dict(extra or {}))  # its functions are methods that take self
    if isinstance(thing, Target):
        return thing
    if _has(thing, "init", "forward", "backward", "infer"):
        return FunctionsTarget(thing)
    if kind := _kind(thing):
        module, name = _ADAPTERS[kind]
        found: Target = getattr(importlib.import_module(f"{__name__}.{module}"), name)(thing, extra)
        return found
    if isinstance(thing, ModuleType) and (own := _classes(thing)):
        raise TypeError(
            f"target is the module {thing.__name__}, expected a name in it after a colon: {', '.join(own)}"
        )
    raise TypeError(
        f"target is {thing!r}, expected four functions (make, forward, backward, state), those of mabn_ref.norms, "
        "init and apply of JAX, a layer class of PyTorch, Flax or Keras 3, a class of NumPy with forward and "
        "backward, or a function of the number of channels that returns such a layer; "
        "mabn-ref check --template FILE.py writes four functions to fill in"
    )


def _classes(module: ModuleType) -> list[str]:
    """The public names of the classes that a module defines."""
    found = [(name, value) for name, value in vars(module).items() if isinstance(value, type) and name[0] != "_"]
    return [name for name, value in found if value.__module__ == module.__name__]


def _kind(thing: Any) -> str:
    """The key in `_ADAPTERS` for a class, an instance, or what a function returns; "" if there is none."""
    kind = thing if isinstance(thing, type) else type(thing)
    modules = [base.__module__ + "." for base in kind.__mro__]
    for name in _ADAPTERS:  # with the PyTorch backend, a Keras layer is a PyTorch module too
        if any(module.startswith(name + ".") for module in modules):
            return name
    if _has(thing, "init", "apply"):
        return "init and apply"
    if _has(thing, "forward", "backward") and not isinstance(thing, ModuleType):
        return "forward and backward"
    if isinstance(thing, type) or not callable(thing):
        return ""
    keywords: dict[str, Any] = {"config": _ANY} if "config" in signature(thing).parameters else {}
    channels = [60]
    if name := by_name(thing):
        channels, keywords[name] = [], 60
    try:
        signature(thing).bind(*channels, **keywords)
    except TypeError:  # it takes more than a number of channels
        return ""
    made = thing(*channels, **keywords)
    found = "" if made is thing else _kind(made)
    return found if found != "init and apply" else ""


def _has(thing: Any, *names: str) -> bool:
    return all(callable(getattr(thing, name, None)) for name in names)
