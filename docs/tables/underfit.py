"""How far the networks of the README's table got: training error beside test error in the last epoch."""

from pathlib import Path

from mabn_ref.train import results
from mabn_ref.train.config import RunConfig, label
from mabn_ref.train.table_layout import mean_interval, text

RECORDS = Path(__file__).parents[1] / "results" / "cifar10-subset" / "results.jsonl"
TRAINING_IMAGES = 5000

rows, updates = {}, set()
for record in results.read(RECORDS):
    config = RunConfig(**record["config"])
    last = rows.setdefault(label(config).removesuffix(" (control)"), ([], []))
    for errors, key in zip(last, ("train_error", "test_error"), strict=True):
        errors.append(record["epochs"][-1][key])
    updates.add(config.epochs * (TRAINING_IMAGES // config.gradient_batch))
(steps,) = updates
print(
    f"These are the rows of the README's table, after {steps:,} updates, mean over the seeds with 95 % t intervals:\n"
)
print(".. list-table::\n   :header-rows: 1\n")
print("   * - \n     - training error %\n     - test error %")
for name, last in rows.items():
    print(f"   * - {name}\n" + "".join(f"     - {text(mean_interval(errors))}\n" for errors in last), end="")
