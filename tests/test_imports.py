"""What importing costs and brings with it, in processes of their own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.benchmarks.processes import ROOT, import_times, python

CORE = "mabn_ref, mabn_ref.norms, mabn_ref.nn"
OPTIONAL = (
    "matplotlib tqdm pooch threadpoolctl torch jax flax keras cupy hypothesis pytest array_api_strict sphinx mpmath "
    "scipy"
)


def test_import_is_quick() -> None:
    """Processor time and the best of several, so that other work on the machine does not count.

    A machine that takes long for NumPy may take longer for this: NumPy is measured in the same processes.
    """
    for modules in ("mabn_ref", CORE):
        numpy_alone, beyond = import_times(modules, rounds=6)
        assert min(beyond) < max(30.0, 0.5 * min(numpy_alone)), modules


@pytest.mark.parametrize("modules", ["mabn_ref", f"{CORE}, mabn_ref.gradcheck, mabn_ref.conformance, mabn_ref.cli"])
def test_no_optional_package_is_imported(modules: str) -> None:
    code = f"import sys, {modules}; print(*sorted(set({OPTIONAL!r}.split()) & set(sys.modules)))"
    assert python(code).split() == []
    assert "matplotlib" in python(code.replace("import sys,", "import sys, matplotlib,")).split()


def test_every_extra_is_looked_for() -> None:
    """The list above names what the extras of users install."""
    extras = tomllib.loads(Path(ROOT, "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for name in ("run", "data", "cupy12x", "frameworks"):
        for requirement in extras[name]:
            package = requirement.partition(">")[0].partition("-")[0]
            assert package in OPTIONAL.split() or package == "mabn_ref[torch]"
