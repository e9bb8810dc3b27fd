"""What makes a target of something else: of a dotted path, a module, a layer of a framework."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mabn_ref.check.target import FunctionsTarget, Target

__all__ = ["adapt", "load"]

_ADAPTERS = {
    "keras": ("keras_layers", "KerasTarget"),
    "flax.linen": ("flax_modules", "LinenTarget"),
    "flax.nnx": ("flax_modules", "NnxTarget"),
    "torch": ("pytorch", "TorchTarget"),
    "init and apply": ("jax_functions", "JaxTarget"),
}
"""By where a layer's class comes from: the module and the class, imported only when they are asked for."""
_ANY = SimpleNamespace(
    eps=1e-5, norm_batch=2, decay=0.9, window=4, clip=5.0, warmup=0, renorm_from=1, r_max=3.0, d_max=5.0
)
"""Settings with which a function is tried once, to see what it makes."""


def load(path: str) -> Any:
    """Import what a dotted path names.

    Parameters
    ----------
    path : str
        Such as "my_package.norms:MyMABN2d"; without a colon, a module. The current directory is searched first.

    Raises
    ------
    ValueError
        If there is no such module or nothing of that name in it.

    Examples
    --------
    >>> load("mabn_ref.norms:mabn").__name__
    'mabn_ref.norms.mabn'
    """
    module_name, _, name = path.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == "tensorflow" and any(name.startswith("keras.src.") for name in sys.modules):
            raise ValueError(
                f"target is {path!r}, but Keras runs on TensorFlow unless told otherwise, which is not installed: "
                "set the environment variable KERAS_BACKEND to torch or jax"
            ) from error
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise ValueError(f"target is {path!r}, but there is no module {error.name!r} here") from error
    for part in filter(None, name.split(".")):
        if not hasattr(found, part):
            raise ValueError(f"target is {path!r}, but {module_name} has no {name!r}")
        found = getattr(found, part)
    return found


def adapt(thing: Any, extra: Mapping[str, Any] | None = None) -> Target:
    """Make a target of what is given.

    Parameters
    ----------
    thing : object
        A `Target`; a module with the functions of `mabn_ref.norms`; one with ``init`` and ``apply`` of JAX; a layer
        class of PyTorch, Flax or Keras 3, an instance of one, or a function of the number of channels that returns
        one.
    extra : mapping, optional
        Keywords for its constructor.

    Returns
    -------
    Target

    Raises
    ------
    TypeError
        If it is none of these.

    Examples
    --------
    >>> from mabn_ref.norms import mabn
    >>> type(adapt(mabn)).__name__
    'FunctionsTarget'
    """
    if isinstance(thing, type) and isinstance(thing, Target) and len(signature(thing.make).parameters) == 3:
        thing = thing(**dict(extra or {}))  # its functions are methods, with a self
    if isinstance(thing, Target):
        return thing
    if _has(thing, "init", "forward", "backward", "infer"):
        return FunctionsTarget(thing)
    kind = _framework(thing) or ("init and apply" if _has(thing, "init", "apply") else "")
    if kind:
        module, name = _ADAPTERS[kind]
        found: Target = getattr(importlib.import_module(f"{__name__}.{module}"), name)(thing, extra)
        return found
    raise TypeError(
        f"target is {thing!r}, expected four functions (make, forward, backward, state), those of mabn_ref.norms, "
        "init and apply of JAX, a layer class of PyTorch, Flax or Keras 3, or a function of the number of channels "
        "that returns such a layer"
    )


def _framework(thing: Any) -> str:
    """The framework that a class, an instance or a function's result belongs to, or ""."""
    kind = thing if isinstance(thing, type) else type(thing)
    modules = [base.__module__ + "." for base in kind.__mro__]
    # a layer of Keras is a module of PyTorch too, where that is its backend
    found = [name for name in _ADAPTERS if any(module.startswith(name + ".") for module in modules)]
    if not found and callable(thing) and not isinstance(thing, type):
        made = thing(60, **({"config": _ANY} if "config" in signature(thing).parameters else {}))
        if not callable(made) or made is thing:
            return ""
        return _framework(made)
    return found[0] if found else ""


def _has(thing: Any, *names: str) -> bool:
    return all(callable(getattr(thing, name, None)) for name in names)
