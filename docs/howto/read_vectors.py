"""Read test vectors, and put a layer through them."""

import json
from pathlib import Path

import numpy as np


def read(folder):
    index = json.loads(Path(folder, "vectors.json").read_text(encoding="utf-8"))
    assert (index["format"], index["version"]) == ("mabn_ref vectors", 1)
    for entry in index["files"]:
        with np.load(Path(folder, entry["file"]), allow_pickle=False) as arrays:
            yield entry, dict(arrays)


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
    return worst
