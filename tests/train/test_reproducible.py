"""Single-precision training gives the same bits in every process, whatever BLAS threads it has."""

from __future__ import annotations

from tests.benchmarks.processes import python

_TRAIN = """
import hashlib
from mabn_ref.train import loop
from mabn_ref.train.config import RunConfig
for seed in (0, 1):
    setup = loop.prepare(RunConfig(width=8, epochs=1, train_size=96, test_size=20, seed=seed))
    *_, last = loop.run(setup, loop.begin(setup))
    digest = hashlib.sha256()
    for layer in [*last.params, *last.velocity]:
        for name in layer:
            assert layer[name].dtype == "float32"
            digest.update(layer[name].tobytes())
    for state in last.states:
        for value in state or ():
            digest.update(str(value).encode() if isinstance(value, int) else value.tobytes())
    print(digest.hexdigest(), last.history[-1].train_loss, last.history[-1].test_error)
"""


def test_the_same_bits_in_every_process() -> None:
    def trained(threads: str, hashes: str) -> str:
        limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        return python(_TRAIN, PYTHONHASHSEED=hashes, **limits)

    first = trained("1", "1")
    assert trained("2", "2") == first
    assert trained("4", "3") == first
    seed_0, seed_1 = first.splitlines()
    assert seed_0.split()[0] != seed_1.split()[0]
