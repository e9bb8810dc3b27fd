"""Run the benchmarks, one core, ratios in one run: ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
from typing import Any

from threadpoolctl import threadpool_limits

from tests.benchmarks import training_step
from tests.benchmarks.timing import side_by_side, table


def _torch() -> Any | None:
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: its rows are left out")
        return None
    return torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with threadpool_limits(1):
        timings = side_by_side(training_step.contestants(_torch()), rounds=rounds)
    print(table("Training step, gradient batch 32, float32, one core", timings, "BN 32"))


if __name__ == "__main__":
    main()
