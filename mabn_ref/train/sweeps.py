"""Many runs in parallel, each recorded as it ends: in worker processes, on a Dask cluster, or in any executor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

from mabn_ref.extras import require
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.runs import run_one
from mabn_ref.train.workers import Workers


def sweep(
    configs: Sequence[RunConfig],
    executor: Executor,
    path: Path | None = None,
    device: str = "cpu",
    run: Callable[..., dict[str, Any]] = run_one,
) -> Iterator[tuple[RunConfig, dict[str, Any] | Exception]]:
    """Run every configuration; as each ends, record it and yield it with its record.

    The executor is `workers.Workers`, a thread or process pool, or a cluster's. A run is ``run(config,
    device=device)``; `run` is a function of a module, so that it can be sent to any process. Records are appended to
    the ``results.jsonl`` at `path`, if given; an existing file must be one that `results.read` accepts. A run that
    fails yields its exception in place of a record and adds no line to the file; the others go on.

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
    futures = {executor.submit(run, config, device=device): config for config in configs}
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


@contextlib.contextmanager
def executor(
    jobs: int, dask: str | None = None, on_report: Callable[..., object] | None = None
) -> Iterator[Executor]:
    """Open an executor for `sweep`: `jobs` worker processes, or a Dask cluster.

    `dask` is the address of a Dask scheduler, ``tcp://host:port``. A `ValueError` is raised if it has no port or an
    unknown scheme, an `OSError` if nothing answers there, an `ImportError` if dask.distributed is not installed. The
    cluster's workers need this package, and the data files if there are any. If a worker dies, Dask repeats its run
    on another one, at most three times. ``on_report(config, report)`` is called during runs, but not on a cluster.
    """
    if dask is None:
        with Workers(jobs, on_report=on_report) as workers:
            yield workers
        return
    distributed: Any = require("distributed", "dask")
    # checked here: a Client with a wrong address takes 20 seconds to close, and that fails too
    distributed.comm.get_address_host_port(dask, strict=True)
    with distributed.Client(dask, timeout="10s", set_as_default=False) as client:
        # pure=False: do every run asked for, even if Dask remembers the result of an equal one
        pool = client.get_executor(pure=False)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
