"""Single-precision training gives the same bits in every process, whatever BLAS threads it has."""

from __future__ import annotations

from tests.benchmarks.processes import python

_TRAIN = """
import hashlib
from mabn_ref.train import training
from mabn_ref.train.config import RunConfig
setup = training.prepare(RunConfig(width=8, epochs=1, train_size=320, test_size=20, seed={seed}))
*_, last = training.run(setup, training.begin(setup))
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
    given = {seed: _TRAIN.format(seed=seed) for seed in (0, 1)}
    first, again, other = (
        python(given[seed], PYTHONHASHSEED=hashes) for seed, hashes in ((0, "1"), (0, "2"), (1, "1"))
    )
    assert first == again
    assert first.split()[0] != other.split()[0]
    for threads in "24":
        assert (
            python(given[0], OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads) == first
        )
