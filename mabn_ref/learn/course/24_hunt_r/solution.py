"""Hunt: a ratio with a unit."""

import numpy as np

# TODO: scale x by 100, and the moving statistics with it: z should be the same, and is not. Fix it.


def forward(x, gamma, beta, mean_hat, var_hat, r_max, d_max, eps):
    """Batch Renormalization. Returns z, r and d; the moving statistics are those from before the batch."""
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    var = np.mean((x - mu) ** 2, axis=axes) + eps
    std_hat = np.sqrt(var_hat + eps)
    # BUG: r = np.clip(var / std_hat, 1 / r_max, r_max)
    r = np.clip(np.sqrt(var) / std_hat, 1 / r_max, r_max)
    d = np.clip((mu - mean_hat) / std_hat, -d_max, d_max)
    y = (x - mu) / np.sqrt(var)
    z = gamma * (r * y + d) + beta
    return z, r, d
