"""A progress bar over one run or many. Needs the extra ``run`` (tqdm)."""

from __future__ import annotations

import statistics
import sys
import threading
from typing import Any

from mabn_ref.extras import require
from mabn_ref.train.config import RunConfig
from mabn_ref.train.runs import Report

# No numbers of images: 80 columns have no room for them beside the loss and the error.
_FORMAT = "{desc} {percentage:3.0f} % |{bar}| {rate_fmt}, {remaining} left{postfix}"


class Bar:
    """A bar of all runs: the part done, images/s, the time left, and the mean loss and error of the current runs.

    It is drawn on standard error, if that is a terminal; lines from `say` are printed there in any case. `runs` is
    the number of runs that will report.
    """

    def __init__(self, runs: int) -> None:
        tqdm = require("tqdm", "run").tqdm
        self._bar: Any = tqdm(
            total=0, unit=" images", bar_format=_FORMAT, smoothing=0.05, dynamic_ncols=True, disable=None
        )
        self._runs = runs
        self._ended = 0
        self._going: dict[RunConfig, Report] = {}
        self._lock = threading.Lock()
        self._describe()

    def report(self, config: RunConfig, report: Report) -> None:
        """Record how far a run is; any thread may call this."""
        with self._lock:
            self._bar.total = self._runs * report.total
            before = self._going.get(config)
            self._going[config] = report
            if before is None and not self._bar.disable:
                # What was done before the run resumed must not count for its speed.
                for name in ("n", "initial", "last_print_n"):
                    setattr(self._bar, name, getattr(self._bar, name) + report.images)
            loss = statistics.fmean(value.loss for value in self._going.values())
            error = statistics.fmean(value.error for value in self._going.values())
            self._bar.set_postfix_str(f"loss {loss:.3f}, error {error:.1f} %", refresh=False)
            self._bar.update(report.images - before.images if before else 0)

    def end(self, config: RunConfig, line: str) -> None:
        """Count a run as ended, however it ended, and print a line about it."""
        with self._lock:
            last = self._going.pop(config, None)
            self._bar.update(self._bar.total // self._runs - (last.images if last else 0))
            self._ended += 1
            self._describe()
        self.say(line)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line, file=sys.stderr)

    def _describe(self) -> None:
        self._bar.set_description_str(f"{self._ended}/{self._runs} runs" if self._runs > 1 else "training")

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
