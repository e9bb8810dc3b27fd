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
            layer = make(entry["config"], arrays["gamma"].astype(dtype), arrays["beta"].astype(dtype))
            calls = zip(arrays["x"].astype(dtype), arrays["dz"].astype(dtype), strict=True)
            found = [layer(x, dz) for x, dz in calls]
            for name in found[0]:
                got, expected = np.stack([call[name] for call in found]), arrays[name]
                axes = tuple(range(expected.ndim - 1))  # an error counts by the size of its channel
                error = np.max(np.abs(got - expected), axis=axes) / np.max(np.abs(expected), axis=axes)
                worst[name] = max(worst.get(name, 0.0), float(np.max(error)))
    return worst
