"""What a number was made with: versions, and the machine."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

from mabn_ref import __version__

__all__ = ["made_with"]


def made_with(device: str = "cpu") -> dict[str, Any]:
    """Return what a record says of where it comes from.

    Parameters
    ----------
    device : str
        As in `mabn_ref.train.devices`.

    Returns
    -------
    dict
        `versions` of Python, NumPy and this package, and `machine`: its system, processor, cores, and the device.

    Examples
    --------
    >>> sorted(made_with()["versions"]), made_with()["machine"]["device"]
    (['mabn_ref', 'numpy', 'python'], 'cpu')
    """
    return {
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "mabn_ref": __version__},
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "device": device,
        },
    }
