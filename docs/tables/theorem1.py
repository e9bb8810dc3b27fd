"""Theorem 1 in numbers: bias and variance of both averages after 300 iterations, simulated and by formula."""

import numpy as np

from mabn_ref.paper.theorems import average_moments, exact_moments, expectations

STEPS, WINDOW = 300, 16
KINDS = {"constant": "1 throughout", "settling": "1 + 3 / √t", "drift": "0.01 t", "jump": "0, then 1 from t = 151"}
EQUAL = (WINDOW - 1) / (WINDOW + 1)


def interval(estimate, t):
    """One value of an estimate, with half its interval."""
    return f"{estimate.mean[t]:.4f} ± {(estimate.high[t] - estimate.low[t]) / 2:.4f}"


print(".. list-table::\n   :header-rows: 1\n")
rows = [("E[ξ]", "t", "average", "bias, simulated", "exact", "variance, simulated", "formula (9), (11)")]
for kind, words in KINDS.items():
    sequence, t = expectations(kind, STEPS), STEPS - 1
    at = 149 + WINDOW if kind == "jump" else t
    for decay, name in ((0.98, "0.98"), (EQUAL, "15/17")):
        settings = {"window": WINDOW, "decay": decay}
        simple, exponential = average_moments(sequence, **settings, rng=np.random.default_rng(1))
        exact_simple, exact_exponential = exact_moments(sequence, **settings)
        claimed = (1 - decay ** (2 * at + 2)) * (1 - decay) / (1 + decay)
        drawn = [(f"exponential, {name}", exponential, exact_exponential, claimed)]
        if decay == 0.98:
            drawn.insert(0, ("simple, 16", simple, exact_simple, 1 / WINDOW))
        for average, moments, (bias, _), formula in drawn:
            numbers = (f"{bias[at]:.4f}", interval(moments.variance, at), f"{formula:.4f}")
            rows.append((words, str(at + 1), average, interval(moments.bias, at), *numbers))
for first, *rest in rows:
    print(f"   * - {first}")
    print("".join(f"     - {cell}\n" for cell in rest), end="")
