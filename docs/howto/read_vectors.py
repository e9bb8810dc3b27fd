"""Read test vectors, and put a layer through them."""

import hashlib
import io
import json
import math
from pathlib import Path

import numpy as np


def read(folder):
    """Yield each file's entry in the index and its arrays; a ValueError says which file is damaged."""
    place = Path(folder, "vectors.json")
    try:
        with place.open("rb") as file:
            index = json.loads(file.read(2**22))
        if (index["format"], index["version"]) != ("mabn_ref vectors", 1):
            raise ValueError("another format")
        for entry in index["files"]:
            place = Path(folder, Path(entry["file"]).name)
            # Nothing is read that the index does not lead one to expect.
            most = sum(8 * math.prod(shape) + 1024 for shape in entry["arrays"].values())
            with place.open("rb") as file:
                data = file.read(most + 1)
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise ValueError("its bytes are not those that the index describes")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                yield entry, dict(arrays)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{place}: {error}") from error


def errors(folder, norm, make, dtype):
    worst = {}
    for entry, arrays in read(folder):
        if entry["norm"] == norm:
            names = "gamma", "beta", "x", "dz"
            gamma, beta, x, dz = (arrays[name].astype(dtype) for name in names)
            layer = make(entry["config"], gamma, beta)
            found = [layer(*call) for call in zip(x, dz, strict=True)]
            for name in found[0]:
                expected, axes = arrays[name], tuple(range(arrays[name].ndim - 1))
                error = np.abs(np.stack([call[name] for call in found]) - expected)
                size = np.max(np.abs(expected), axis=axes)  # of the channel
                worst[name] = max(worst.get(name, 0.0), float(np.max(error / size)))
    if not worst:  # no error is as small as that of a layer that was never run
        raise ValueError(f"norm is {norm!r}, but no file in {folder} is of that")
    return worst
