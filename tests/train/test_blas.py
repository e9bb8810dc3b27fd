"""One BLAS thread while the loop computes, and what there was before between its steps."""

from __future__ import annotations

import pytest

from mabn_ref.nn import network
from mabn_ref.train import loop
from mabn_ref.train.config import RunConfig

threadpoolctl = pytest.importorskip(
    "threadpoolctl", reason='threadpoolctl is not installed: pip install "mabn_ref[run]"'
)


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}


def test_the_loop_computes_on_one_thread_and_leaves_the_caller_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = loop.prepare(RunConfig(width=2, epochs=1, train_size=64, test_size=10))
    progress = loop.begin(setup)
    seen = []
    for name in ("forward", "backward", "infer"):
        function = getattr(network, name)

        def spy(*given: object, name: str = name, function: object = function) -> object:
            seen.append((name, threads()))
            return function(*given)  # type: ignore[operator]

        monkeypatch.setattr(network, name, spy)
    with threadpoolctl.threadpool_limits(2, "blas"):  # whatever the environment says
        if threads() != {2}:
            pytest.skip("this BLAS cannot have two threads")
        between = [threads() for _ in loop.run(setup, progress)]
    assert seen == [*[("forward", {1}), ("backward", {1})] * 2, ("infer", {1})]
    assert between == [{2}] * 3
