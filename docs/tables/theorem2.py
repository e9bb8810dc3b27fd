"""Theorem 2 in numbers: what g adds to total variance and to noise, over |B|, with 95 % intervals."""

import numpy as np

from mabn_ref.paper.theorems import dependent_pairs, gradient_gaps

BATCHES = [2, 8, 32]
FORWARD = {
    "centred": "frozen, centred (i)",
    "frozen": "frozen (iii)",
    "batch": "each batch its own",
    "scaled": "the same, at one scale",
}
x, u = dependent_pairs(20_000, 4, np.random.default_rng(0))


def list_table(rows: list[tuple[str, ...]]) -> None:
    print(".. list-table::\n   :header-rows: 1\n")
    for first, *rest in rows:
        print(f"   * - {first}")
        print("".join(f"     - {cell}\n" for cell in rest), end="")


rows = [("forward statistics", "\\|B\\|", "Var[g] / s²", "Cov(u, g) / s²", "total variance", "noise")]
for statistics, words in FORWARD.items():
    gaps = gradient_gaps(x, u, BATCHES, statistics=statistics, rng=np.random.default_rng(1), runs=10_000)
    for i, size in enumerate(BATCHES):
        cells = [f"{e.mean[i]:+.4f} ± {(e.high[i] - e.low[i]) / 2:.4f}" for e in gaps]
        rows.append((words, str(size), *cells))
list_table(rows)

x, u = dependent_pairs(20_000, 1, np.random.default_rng(0))
y, centred = (x - np.mean(x)) / np.std(x), u - np.mean(u)
lost = np.mean(y * u) ** 2 + np.mean(u) ** 2 + 2 * np.mean(u) * np.mean(y**2 * centred)
gaps = gradient_gaps(x, u, [128], statistics="batch", rng=np.random.default_rng(1), runs=10_000)
share, half = (float(part[0]) / (np.var(u) / 128) for part in (gaps.noise.mean, gaps.noise.high - gaps.noise.mean))
print(
    "\nWith 128 independent values a batch and statistics of its own, the gap in noise is "
    f"{share:.2f} ± {half:.2f} times :math:`\\Var[g] / s^2`; the formula of the section above has "
    f"{1 - lost / np.var(u):.2f}."
)

print(
    "\nThe total variance again, of independent values whose mean is not zero, in units of :math:`\\Var[g] / s^2`:\n"
)
rows = [(":math:`\\E[x]`", "values a batch", "each batch its own", "the same, at one scale")]
for mean in (0.0, 0.5, 1.0):
    for size in (32, 128):
        cells = []
        for statistics in ("batch", "scaled"):
            rng = np.random.default_rng(1)
            gaps = gradient_gaps(x + mean, u, [size], statistics=statistics, rng=rng, runs=10_000)
            total = gaps.total.mean[0] / gaps.var_g.mean[0]
            half = (gaps.total.high[0] - gaps.total.mean[0]) / gaps.var_g.mean[0]
            cells.append(f"{total:+.2f} ± {half:.2f}")
        rows.append((f"{mean}", str(size), *cells))
list_table(rows)
