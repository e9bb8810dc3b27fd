"""Run the benchmarks on one core, print the tables and write them as JSON: ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from mabn_ref import __version__, storage
from tests.benchmarks import convolution, normalisers, processes, relatives, scaling, training_step
from tests.benchmarks.timing import Timing, table

SECTIONS: dict[str, tuple[str, str, Callable[..., dict[str, dict[str, Timing]]]]] = {
    "step": ("Training step of the small network", "ms", training_step.measure),
    "normalisers": ("Normaliser alone, forward + backward", "ms", normalisers.measure),
    "relatives": ("Relatives beside PyTorch", "ms", relatives.measure),
    "convolution": ("Convolution", "ms", convolution.measure),
    "scaling": ("Cost against size", "ms", scaling.measure),
    "memory": ("Memory", "MB", processes.measure_memory),
    "step memory": ("Peak memory of one step, beyond what the process held", "MB", relatives.measure_memory),
    "imports": ("Import", "ms", processes.measure_imports),
}
_REFERENCES = ("PyTorch BN 32, channels last", "BN 32", "ours, forward")


def _torch() -> Any | None:
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: its rows are left out")
        return None
    torch.set_num_threads(1)
    return torch


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _header(torch: Any | None, arguments: Sequence[str], rounds: int) -> dict[str, Any]:
    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    blas = [f"{lib['internal_api']} {lib['version']}, {lib.get('architecture', '')}" for lib in found]
    versions = {"python": platform.python_version(), "numpy": np.__version__, "mabn_ref": __version__}
    return {
        "command": " ".join(["python -m tests.benchmarks", *arguments]),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": versions | ({"torch": str(torch.__version__)} if torch is not None else {}),
        "blas": blas[0] if blas else "",
        "clock": "processor time of one process on one thread",
        "seed": 0,
        "rounds": rounds,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument(
        "--rounds", type=int, default=30, help="of the training step; normalisers take five times these"
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: to see that everything still runs")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}, expected at least 1")
    torch = _torch()
    results: dict[str, Any] = {}
    with threadpool_limits(1):
        header = _header(torch, sys.argv[1:] if arguments is None else arguments, options.rounds)
        for section in options.only:
            title, unit, measure = SECTIONS[section]
            found = measure(torch, rounds=options.rounds, tiny=options.tiny)
            for name, timings in found.items():
                reference = next((r for r in _REFERENCES if r in timings), next(iter(timings)))
                print(table(f"{title}: {name}", timings, reference, unit), end="\n\n", flush=True)
            results[section] = {"title": title, "unit": unit, "tables": found}
            if section == "step" and not options.tiny:
                (steps,) = found.values()
                header["share of peak"] = training_step.share_of_peak(steps)
                print(f"{header['blas']}; convolutions alone, in % of its large product:")
                print("\n".join(f"  {name}: {value}" for name, value in header["share of peak"].items()), end="\n\n")
    if options.json is not None:
        text = json.dumps(header | {"results": results}, indent=1) + "\n"
        storage.write(options.json, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
