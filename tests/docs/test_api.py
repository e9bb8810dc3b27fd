"""The API pages show every module of the package that a user would import."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

import mabn_ref

API = Path(__file__).parents[2] / "docs" / "api"
INTERNAL = {"causes", "checks", "creation", "layers", "plain"}


@pytest.mark.parametrize("package", ["norms", "nn", "data"])
def test_every_module_has_a_page(package: str) -> None:
    folder = Path(mabn_ref.__path__[0]) / package
    modules = {module.name for module in pkgutil.iter_modules([str(folder)])} - INTERNAL
    text = "".join(page.read_text(encoding="utf-8") for page in API.glob("*.rst"))
    shown = set(re.findall(rf"automodule:: mabn_ref\.{package}\.(\w+)", text))
    assert shown == modules
