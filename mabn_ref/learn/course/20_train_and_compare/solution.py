"""Train a network, and compare normalisers."""

import numpy as np


def train(gradients, params, state, batches, lr, momentum):
    """Take one step per batch.

    gradients: a function; gradients(params, state, batch) returns the loss, the gradients and the new state
    params: dict of arrays; the gradients are a dict of the same names and shapes
    state: the moving averages, of any type; pass them on
    batches: list of gradient batches, of any type
    lr, momentum: numbers
    Returns new params, the new state and the list of losses, one for each batch; the params given stay as they are.
    """
    # TODO: a velocity of zeros for each parameter; then for each batch gradients, velocity, parameters
    velocity = {name: np.zeros_like(p) for name, p in params.items()}
    losses = []
    for batch in batches:
        loss, grads, state = gradients(params, state, batch)
        velocity = {name: momentum * velocity[name] + grads[name] for name in params}
        params = {name: params[name] - lr * velocity[name] for name in params}
        losses.append(loss)
    return params, state, losses


def compare(run, rows, base, seeds, t):
    """Difference of each row from the base, seed by seed.

    run: a function; run(row, seed) trains a network and returns its test error, a number
    rows: list of the rows' names
    base: the name of the row to compare with
    seeds: list of whole numbers
    t: a number, the quantile of Student's t for the interval
    Returns a dict: for each row a tuple of two numbers, the mean difference and half the width of its interval.
    """
    # TODO: the differences, their mean, and their spread, for each row
    compared = {}
    for row in rows:
        d = np.array([run(row, seed) - run(base, seed) for seed in seeds])
        half = t * np.std(d, ddof=1) / np.sqrt(len(seeds))
        compared[row] = (np.mean(d), half)
    return compared
