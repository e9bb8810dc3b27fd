"""The ranks that `mpirun` starts: mpi4py's communicator, and the end of the whole job when one rank dies."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from mabn_ref.extras import require
from mabn_ref.norms.communicators import Alone

_LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")
"""Variables that Open MPI, MPICH and its relatives, and PMIx set in the processes they start."""


def started_by_mpi() -> bool:
    """Tell whether an MPI launcher such as ``mpirun`` started this process."""
    return any(name in os.environ for name in _LAUNCHERS)


@contextlib.contextmanager
def world() -> Iterator[Any]:
    """Yield the communicator of all ranks, with `allreduce`, `rank` and `size`; end the job if this rank dies.

    Without that, the other ranks would wait for a dead one for ever. A rank that dies prints its error and its
    number, and ends all others with exit code 1 (``MPI_Abort``).

    Under ``mpirun`` the communicator is ``MPI.COMM_WORLD`` of mpi4py, else `mabn_ref.norms.communicators.Alone`. An
    `ImportError` is raised if ``mpirun`` started this process and mpi4py is not installed, and a `RuntimeError` if
    mpi4py belongs to another MPI than ``mpirun``: each process would otherwise believe that it is alone.

    Examples
    --------
    >>> with world() as ranks:
    ...     ranks.rank, ranks.size, ranks.allreduce(2.5)
    (0, 1, 2.5)
    """
    if not started_by_mpi():
        yield Alone()
        return
    ranks = require("mpi4py.MPI", "mpi").COMM_WORLD
    started = int(os.environ.get("OMPI_COMM_WORLD_SIZE") or os.environ.get("PMI_SIZE") or ranks.size)
    if started != ranks.size:
        raise RuntimeError(
            f"mpirun started {started} processes and mpi4py sees {ranks.size}: it was built for a different MPI. "
            "Reinstall it with the mpicc of this mpirun first on the PATH"
        )
    try:
        yield ranks
    except BaseException as error:
        if not (isinstance(error, SystemExit) and not error.code):
            traceback.print_exc()
            print(f"rank {ranks.rank} of {ranks.size} died: {type(error).__name__}: {error}", file=sys.stderr)
            sys.stderr.flush()
            ranks.Abort(1)
        raise
