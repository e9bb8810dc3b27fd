"""From a dotted path, or an object, to a target."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mabn_ref.check.adapters import adapt, load
from mabn_ref.check.adapters.arguments import Constructed, arguments_for
from mabn_ref.check.scenarios import MODULES
from mabn_ref.check.target import FunctionsTarget, Target
from mabn_ref.cli.checks import CHECKED
from mabn_ref.norms import batch_norm, mabn


def test_a_path_names_an_attribute_of_a_module_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_layers.py").write_text("class Norms:\n    second = 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # takes it off the path again
    assert load("my_own_layers:Norms.second") == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.norms:Norm", "there is no module 'no_such_package' here$"),
        ("mabn_ref.check.target.Target", r"no module '.*' here; did you mean 'mabn_ref.check.target:Target'\?"),
        ("mabn_ref.check.target.Nothing", "there is no module 'mabn_ref.check.target.Nothing' here$"),
        ("no_such_package.Norm", "there is no module 'no_such_package' here$"),
        ("mabn_ref.norms:batchnorm", r"mabn_ref.norms has no 'batchnorm'; did you mean 'batch_norm'\?"),
        ("mabn_ref.norms:nothing_like_it", "mabn_ref.norms has no 'nothing_like_it'$"),
        (":MyBN", "expected a module and a name in it, such as my_package.norms:MyMABN2d"),
        (".", "expected a module and a name in it, such as my_package.norms:MyMABN2d"),
    ],
)
def test_a_wrong_path_is_named(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'$"),
        ("1 / 0", "ZeroDivisionError: division by zero$"),
        ("raise ValueError('mine')", "ValueError: mine$"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".py"])
def test_what_a_module_raises_is_told_with_its_line(
    line: str, message: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raises.py").write_text(f"x = 1\n{line}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=rf"^target is 'raises{suffix}:Norm', but .*raises\.py, line 2: {message}"):
        load(f"raises{suffix}:Norm")
    sys.modules.pop("raises", None)


def test_a_module_names_the_classes_that_may_be_meant() -> None:
    module = ModuleType("layers")
    exec("class First: ...\nclass _Pass: ...\nclass Second: ...\nfrom types import SimpleNamespace", module.__dict__)
    with pytest.raises(TypeError, match=r"^target is the module layers, expected a name in it .*: First, Second$"):
        adapt(module)


def test_the_command_offers_what_can_be_checked() -> None:
    assert list(CHECKED) == list(MODULES)


def test_what_is_a_target_is_left_alone_and_what_cannot_be_one_is_refused() -> None:
    target = SimpleNamespace(make=print, forward=print, backward=print, state=print)
    assert adapt(target) is target
    assert isinstance(adapt(mabn), FunctionsTarget)
    assert isinstance(adapt(mabn), Target)
    with pytest.raises(TypeError, match=r"target is 3, expected four functions"):
        adapt(3)

    def batchnorm_forward(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
        return x

    with pytest.raises(
        TypeError, match=r"batchnorm_forward at .*mabn-ref check --template FILE\.py writes four functions"
    ):
        adapt(batchnorm_forward)


@pytest.mark.parametrize(
    ("default", "passed"), [(0.1, 0.25), (0.9, 0.75)], ids=["the new value's weight", "the old value's weight"]
)
def test_momentum_has_the_sense_of_its_default(default: float, passed: float) -> None:
    def make(channels: int, momentum: float = default) -> None: ...

    found = arguments_for(make, batch_norm.Config(decay=0.75), {}, momentum_is_new=True)
    assert found.keywords == {"momentum": passed}
    assert found.given == {"decay"}


def test_arguments_of_a_constructor() -> None:
    def make(channels: int, B: int, real_B: int, epsilon: float, half: float = 0.5, flag: bool = True) -> None: ...

    config = mabn.Config(norm_batch=2, window=8, eps=0.1)
    found = arguments_for(make, config, {}, momentum_is_new=True)
    assert found.keywords == {"B": 2, "real_B": 16, "epsilon": 0.1}
    assert found.given == {"norm_batch", "window", "eps"}
    assert found.numbers == (0.5,)
    assert arguments_for(make, config, {"half": 2.0}, momentum_is_new=True).keywords["half"] == 2.0


def test_a_number_of_channels_that_is_a_keyword_is_given_by_its_name() -> None:
    class Wide:
        def __init__(self, *, eps: float = 1e-5, num_features: int, momentum: float = 0.1) -> None:
            self.made = num_features, eps, momentum

    config = batch_norm.Config(eps=0.25, decay=0.75)
    for channels_first in (True, False):
        assert Constructed(Wide).constructor(config, {}, channels_first=channels_first)(5).made == (5, 0.25, 0.25)
    made = Constructed(lambda *, channels: Wide(num_features=channels)).constructor(config, {})(5)
    assert made.made == (5, 1e-5, 0.1)
    adapted = adapt(lambda *, channels: SimpleNamespace(forward=print, backward=print, width=channels))
    assert adapted.make(5, config).thing.width == 5


def test_a_keyword_that_may_be_anything_is_not_taken_for_the_number_of_channels() -> None:
    class Odd:
        def __init__(self, *, rank: int) -> None: ...

    with pytest.raises(TypeError, match="Odd needs the argument 'rank', whose meaning is not known: give it"):
        Constructed(Odd).constructor(batch_norm.Config(), {}, channels_first=True)


def test_an_argument_without_a_meaning_is_asked_for() -> None:
    def make(channels: int, rank: Any) -> None: ...

    with pytest.raises(TypeError, match="make needs the argument 'rank', whose meaning is not known"):
        arguments_for(make, mabn.Config(), {}, momentum_is_new=True)
