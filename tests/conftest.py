"""Which tests are run, in which order, and how many examples Hypothesis draws.

Its profiles: `dev` (default), `ci` (the same draws every time), `thorough` (forty times the examples), `fast` (few).
`mutation` is for mutation testing, where every mutant runs the tests: few examples, the same every time.

Fifteen examples, those of `mutation`, see every wrong number in `norms` (docs/mutation.rst): 25 are plenty where all
tests have to be quick.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

SLOW = {
    "benchmarks",
    "gpu",
    "test_cli.py",
    "test_storage.py",
    "test_tutorials.py",
    "check/test_checker.py",
    "check/test_choices.py",
    "check/test_eval.py",
    "check/test_hyper.py",
    "check/test_sample_norms.py",
    "check/test_search.py",
    "check/test_takes.py",
    "data/test_embedded.py",
    "data/test_own_files.py",
    "docs/test_code_blocks.py",
    "gradcheck/test_complex_step.py",
    "gradcheck/test_functions.py",
    "gradcheck/test_kinks.py",
    "gradcheck/test_rounding.py",
    "gradcheck/test_taylor.py",
    "gradcheck/test_verdicts.py",
    "learn/test_class.py",
    "learn/test_course.py",
    "learn/test_grade.py",
    "learn/test_hostile.py",
    "learn/test_judge.py",
    "learn/test_learn.py",
    "learn/test_lint.py",
    "learn/test_other_ways.py",
    "learn/test_other_ways_moving.py",
    "learn/test_other_ways_of_hunts.py",
    "learn/test_process.py",
    "mistakes/test_catalogue.py",
    "mistakes/test_oracles.py",
    "mistakes/test_gradient_table.py",
    "mistakes/test_symptoms.py",
    "norms/test_gradients.py",
    "norms/test_sync_batch_norm.py",
    "paper/test_committed.py",
    "paper/test_detection_studies.py",
    "paper/test_factorial.py",
    "paper/test_figures.py",
    "paper/test_folding.py",
    "paper/test_paper_report.py",
    "paper/test_runner.py",
    "paper/test_studies.py",
    "paper/test_table8.py",
    "paper/test_theorem1.py",
    "paper/test_theorem2.py",
    "paper/test_theorem2_recorded.py",
    "paper/test_weight_noise.py",
    "train/test_checkpoints.py",
    "train/test_loop.py",
    "train/test_reproducible.py",
    "train/test_segmentation.py",
    "train/test_theorems.py",
    "train/test_workers.py",
}
"""What `--fast` leaves out: folders and files with tests that take more than a second or two of a core."""

quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", deadline=None, max_examples=25, suppress_health_check=quiet)
settings.register_profile(
    "ci", deadline=None, max_examples=25, derandomize=True, print_blob=True, suppress_health_check=quiet
)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=quiet)
settings.register_profile(
    "mutation",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=15,
    phases=[Phase.generate],  # a mutant is dead at its first failure: nothing to shrink or explain
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("fast", deadline=None, max_examples=10, suppress_health_check=quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

# One thread in each process, and before NumPy is there to count cores: every core has a process already, and threads
# that wait for one another on busy cores took five times as long for the products of a small network.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="the loop of work: without what takes long, few examples")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores: some tests wait for a process or a clock."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast") and "HYPOTHESIS_PROFILE" not in os.environ:
        settings.load_profile("fast")
    if config.getoption("dist", "no") == "load":  # what -n alone sets
        config.option.dist = "worksteal"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return (config.getoption("--fast") and _place(collection_path) in SLOW) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    apart: set[pytest.Item] = set()
    if "real_layers" not in config.getoption("-m"):  # a job of its own, by its marker alone
        apart |= {item for item in items if item.get_closest_marker("real_layers")}
    if config.getoption("--fast"):
        apart |= {item for item in items if any(map(item.get_closest_marker, ("slow", "docs", "frameworks", "dask")))}
    if apart:
        config.hook.pytest_deselected(items=list(apart))
        items[:] = [item for item in items if item not in apart]
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Every worker has a share of the tests. Whoever builds the pages does it while the others have work left.
        items.sort(key=lambda item: "html" not in getattr(item, "fixturenames", ()))


def _place(path: Path) -> str:
    here = Path(__file__).parent
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else ""
