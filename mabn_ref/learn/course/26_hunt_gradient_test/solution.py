"""Hunt: the test that passes everything."""

import numpy as np

# TODO: a backward that returns zeros passes this test. Find the line and fix it.

STEP = 1e-5
TOLERANCE = 1e-6


def gradient_test(forward, backward, x, seed):
    """Whether backward gives the derivative of forward.

    forward: a function; forward(x) returns z, an array of the shape of x
    backward: a function; backward(x, dz) returns dx, an array of the shape of x
    x: array of shape (N, ..., C)
    seed: a whole number, for all that is drawn at random
    Returns True or False.
    """
    rng = np.random.default_rng(seed)
    # BUG: dz = np.ones(x.shape)
    dz = rng.standard_normal(x.shape)
    dx = backward(x, dz)
    for _ in range(5):
        v = rng.standard_normal(x.shape)
        change = np.sum(dz * forward(x + STEP * v)) - np.sum(dz * forward(x - STEP * v))
        if abs(change / (2 * STEP) - np.sum(dx * v)) > TOLERANCE:
            return False
    return True
