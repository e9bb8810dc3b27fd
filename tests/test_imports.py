"""What importing costs and brings with it, in processes of their own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mabn_ref.cli import COMMANDS
from tests.benchmarks.processes import ROOT, python

CORE = "mabn_ref, mabn_ref.norms, mabn_ref.nn"
COMMAND_LINE = ", ".join(f"mabn_ref.cli.{file}" for file in COMMANDS)
OPTIONAL = (
    "matplotlib tqdm pooch threadpoolctl torch jax flax keras cupy hypothesis pytest array_api_strict sphinx mpmath "
    "scipy onnx pycocotools"
)
_CALLS = """
import sys
counts = []
for modules in ("numpy, dataclasses", {modules!r}):
    counts.append(0)
    def count(frame, event, argument):
        counts[-1] += event in ("call", "c_call")
    sys.setprofile(count)
    exec("import " + modules)
    sys.setprofile(None)
print(*counts)
"""


def test_import_is_little_work_beside_numpys() -> None:
    """Counted in calls of functions, which are the same however fast and busy the machine is.

    How long they take is in the benchmarks. The module `dataclasses` is the standard library's work, and the older
    versions of NumPy do not import it.
    """
    for modules, share in (("mabn_ref", 0.02), (CORE, 0.25)):
        numpy_alone, beyond = map(int, python(_CALLS.format(modules=modules)).split())
        assert numpy_alone > 10_000
        assert 0 < beyond < share * numpy_alone, modules


@pytest.mark.parametrize("modules", ["mabn_ref", f"{CORE}, mabn_ref.gradcheck, mabn_ref.check, {COMMAND_LINE}"])
def test_no_optional_package_is_imported(modules: str) -> None:
    code = f"import sys, {modules}; print(*sorted(set({OPTIONAL!r}.split()) & set(sys.modules)))"
    assert python(code).split() == []
    assert "matplotlib" in python(code.replace("import sys,", "import sys, matplotlib,")).split()


def test_every_extra_is_looked_for() -> None:
    """The list above names what the extras of users install."""
    extras = tomllib.loads(Path(ROOT, "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for name in ("run", "data", "cupy12x", "frameworks", "onnx"):
        for requirement in extras[name]:
            package = requirement.partition(">")[0].partition("-")[0]
            assert package in OPTIONAL.split() or package == "mabn_ref[torch]"
