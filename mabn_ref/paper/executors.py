"""Where a sweep runs: worker processes of this machine, or a Dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from mabn_ref.extras import require
from mabn_ref.train.workers import Workers

__all__ = ["executor"]


@contextlib.contextmanager
def executor(
    jobs: int, dask: str | None = None, on_report: Callable[..., object] | None = None
) -> Iterator[Executor]:
    """Open an executor for the runs of a sweep.

    Parameters
    ----------
    jobs : int
        Worker processes; not used with `dask`.
    dask : str, optional
        The address of a Dask scheduler, "tcp://host:port". Its workers need this package, and the data if they are
        files. A run that dies with its worker is run again elsewhere by Dask, three times at most.
    on_report : callable, optional
        Called as ``on_report(config, report)`` while runs go on; a Dask cluster does not report.

    Yields
    ------
    Executor

    Raises
    ------
    ImportError
        If `dask` is given and dask.distributed is not installed.
    OSError
        If there is no scheduler at the address.
    """
    if dask is None:
        with Workers(jobs, on_report=on_report) as workers:
            yield workers
        return
    distributed: Any = require("distributed", "dask")
    with distributed.Client(dask, timeout="10s", set_as_default=False) as client:
        # pure=False: a run is run whenever it is asked for, whatever Dask remembers of one like it
        pool = client.get_executor(pure=False)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
