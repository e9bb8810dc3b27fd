"""Many runs side by side, through any executor, each recorded as it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.runs import run_one

__all__ = ["missing", "sweep"]


def missing(configs: Iterable[RunConfig], path: Path) -> list[RunConfig]:
    """Return the runs that have no record in `path` yet.

    Raises
    ------
    ValueError
        If the file is damaged, as `results.read` does.
    """
    records = results.read(path)
    return [config for config in configs if results.find(records, config) is None]


def sweep(
    configs: Sequence[RunConfig],
    executor: Executor,
    path: Path | None = None,
    device: str = "cpu",
    task: Callable[..., dict[str, Any]] = run_one,
) -> Iterator[tuple[RunConfig, dict[str, Any] | Exception]]:
    """Run every configuration; record it and yield it with its record as it ends.

    Parameters
    ----------
    configs : sequence of RunConfig
        The runs.
    executor : concurrent.futures.Executor
        Where they run: `workers.Workers`, a thread or process pool, a cluster's.
    path : Path, optional
        The ``results.jsonl`` that records are appended to; `missing` has read it, or there is none.
    device : str
        One of `devices.DEVICES`.
    task : callable
        What a run is: ``task(config, device=device)`` returns a record. A function of a module, so that it can be
        sent to any process.

    Yields
    ------
    config, record
        The record is that of `run_one`, or the exception of a run that failed: that has no line in the file, and the
        others go on.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(1) as pool:
    ...     for config, record in sweep([RunConfig(width=4, epochs=1, train_size=32, test_size=10)], pool):
    ...         print(config.seed, record["status"])
    0 done
    """
    if path is not None:
        results.prepare(path)
    futures = {executor.submit(task, config, device=device): config for config in configs}
    try:
        for future in as_completed(futures):
            try:
                record = future.result()
            except Exception as error:
                yield futures[future], error
                continue
            if path is not None:
                results.append(path, record)
            yield futures[future], record
    finally:
        for future in futures:
            future.cancel()
