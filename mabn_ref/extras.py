"""Optional packages: imported where they are used; if one is missing, the error names the extra that installs it."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Parameters
    ----------
    module : str
        Its dotted name.
    extra : str
        The extra of this project that installs the package.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If it is not installed, with the command that installs it.

    Examples
    --------
    >>> require("no_such_module", "run")
    Traceback (most recent call last):
    ImportError: no_such_module is not installed: pip install "mabn_ref[run]"
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f'{package} is not installed: pip install "mabn_ref[{extra}]"') from error
