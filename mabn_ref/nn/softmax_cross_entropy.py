"""Softmax and cross-entropy together: the loss of a classifier, averaged over the batch."""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, arange, check_own, namespace
from mabn_ref.nn.common import check_integers, check_rank, check_scalar_cotangent


class Cache(NamedTuple):
    """What `backward` needs, both (N, classes): softmax(logits), and 1 at the label of each row, 0 elsewhere."""

    probabilities: Array
    one_hot: Array


def forward(logits: Array, labels: Array) -> tuple[Array, Cache]:
    """Return the mean over the batch of -log softmax(logits)[label], in nats, as an array of shape ().

    Implements :eq:`softmax-cross-entropy-forward`. The scores `logits` (N, classes) may be of any size: the largest
    of each row is subtracted first. `labels` (N,), an integer array of the same library, are the right classes,
    counted from 0.
    """
    _check_labels(logits, labels)
    xp = namespace(logits)
    one_hot = xp.astype(labels[:, None] == arange(logits.shape[1], like=logits)[None, :], logits.dtype)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    exponentials = xp.exp(shifted)
    sums = xp.sum(exponentials, axis=1, keepdims=True)
    picked = xp.sum(xp.where(one_hot != 0, shifted, xp.zeros_like(shifted)), axis=1, keepdims=True)
    loss = xp.mean(xp.log(sums) - picked)  # eq: softmax-cross-entropy-forward
    return loss, Cache(exponentials / sums, one_hot)


def backward(dloss: Array | float, cache: Cache) -> Array:
    """Return dL/dlogits = dloss * (softmax(logits) - one_hot) / N: :eq:`softmax-cross-entropy-backward`.

    `dloss` is a float, or an array of shape () and of the dtype of the logits; 1.0 for the gradient of the loss.

    Examples
    --------
    >>> import numpy as np
    >>> loss, cache = forward(np.array([[0.0, 0.0], [1000.0, 0.0]]), np.array([0, 0]))
    >>> print(f"{loss:.6f}")  # (log 2 + 0) / 2
    0.346574
    >>> backward(1.0, cache)
    array([[-0.25,  0.25],
           [ 0.  ,  0.  ]])
    """
    check_own((cache, Cache))
    dloss = check_scalar_cotangent("dloss", dloss, cache.probabilities, "logits")
    n = cache.one_hot.shape[0]
    dlogits: Array = (cache.probabilities - cache.one_hot) * (dloss / n)  # eq: softmax-cross-entropy-backward
    return dlogits


def _check_labels(logits: Array, labels: Array) -> None:
    check_rank("logits", logits, "N, classes")
    n, classes = logits.shape
    check_integers("labels", labels, logits)
    if tuple(labels.shape) != (n,):
        raise ValueError(f"labels has shape {tuple(labels.shape)}, expected ({n},): one label for each row of logits")
    xp = namespace(labels)
    for index in (int(xp.argmin(labels)), int(xp.argmax(labels))):
        label = int(labels[index])
        if not 0 <= label < classes:
            raise ValueError(f"labels[{index}] is {label}, expected 0 to {classes - 1}: logits has {classes} classes")
