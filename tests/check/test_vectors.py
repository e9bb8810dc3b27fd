"""Test vectors: the same bytes everywhere, and the right numbers."""

from __future__ import annotations

import hashlib
import json
import runpy
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.check.batch_gradients import backward
from mabn_ref.check.batch_model import Model, batch_of
from mabn_ref.check.conventions import from_config
from mabn_ref.check.observe import config_of
from mabn_ref.check.scenarios import CHANNELS, Scenario, inputs
from mabn_ref.check.vectors import INDEX, NORMS, SHIPPED, coarse, contents, full_set, name, small_set, write
from mabn_ref.cli import checks, main
from mabn_ref.norms import batch_renorm


def index(folder: Path) -> Any:
    return json.loads((folder / INDEX).read_text(encoding="utf-8"))


def test_the_small_set_is_written_again_bit_for_bit(tmp_path: Path) -> None:
    for _ in write(tmp_path, small_set()):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SHIPPED.iterdir()}
    for path in tmp_path.glob("*.npz"):
        assert path.read_bytes() == (SHIPPED / path.name).read_bytes(), path.name
    ours, theirs = index(tmp_path), index(SHIPPED)
    assert ours.pop("written_by").split()[0] == theirs.pop("written_by").split()[0] == "mabn_ref"
    assert ours == theirs


def test_the_small_set_is_small_and_the_index_says_what_is_in_it() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 250_000
    assert {entry["norm"] for entry in index(SHIPPED)["files"]} == set(NORMS)
    for entry in index(SHIPPED)["files"]:
        assert hashlib.sha256((SHIPPED / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        with np.load(SHIPPED / entry["file"], allow_pickle=False) as file:
            arrays = dict(file)
        assert {key: list(value.shape) for key, value in arrays.items()} == entry["arrays"]
        samples = entry["config"]["norm_batch"] * entry["norm_batches_per_call"]
        assert arrays["x"].shape[:2] == (entry["calls"], samples)
        for key, value in arrays.items():
            assert value.dtype == "<f8"
            assert np.isfinite(value).all()
            if key in ("x", "dz", "gamma", "beta", "infer.x"):
                assert np.array_equal(value, value.astype(np.float32))


def test_the_reader_of_the_page_does_not_pass_a_layer_that_it_never_ran() -> None:
    reader = Path(__file__).parents[2] / "docs" / "howto" / "read_vectors.py"
    with pytest.raises(ValueError, match=r"^norm is 'batch_norm', but no file in .*small_vectors is of that$"):
        runpy.run_path(str(reader))["errors"](SHIPPED, "batch_norm", None, np.float64)


def test_a_reader_without_a_library_gets_by_with_what_the_page_says() -> None:
    """Members one after the other, each header with its true size; an .npy header of 10 bytes and what these say."""
    for entry in index(SHIPPED)["files"]:
        data, at, found = (SHIPPED / entry["file"]).read_bytes(), 0, {}
        while data[at : at + 4] == b"PK\3\4":
            size, called, extra = struct.unpack("<IHH", data[at + 22 : at + 30])
            body = at + 30 + called + extra
            (header,) = struct.unpack("<H", data[body + 8 : body + 10])
            key = data[at + 30 : at + 30 + called].decode()
            found[key] = np.frombuffer(data[body + 10 + header : body + size], "<f8")
            at = body + size
        with np.load(SHIPPED / entry["file"], allow_pickle=False) as file:
            assert {f"{key}.npy" for key in file} == found.keys()
            assert all(np.array_equal(found[f"{key}.npy"], value.ravel()) for key, value in file.items())


def test_the_inputs_do_not_hang_on_the_last_bits_of_this_machine() -> None:
    """Another machine's exp and sin differ by an ulp or two; here by thousands, and nothing is rounded elsewhere."""
    for _, scenario in small_set():
        assert scenario.space is not None
        for arrays in inputs(scenario, scenario.space):
            for a in arrays:
                if a is not None:
                    assert np.array_equal(coarse(a * (1 + 1e-12)), coarse(a * (1 - 1e-12)))


@pytest.mark.parametrize(("norm", "scenario"), small_set(), ids=[name(*one) for one in small_set()])
def test_the_numbers_are_those_of_another_implementation(norm: str, scenario: Scenario) -> None:
    arrays, c = contents(norm, scenario), from_config(norm, config_of(norm, scenario))
    model = Model(norm, c, CHANNELS)
    for t, (x, dz) in enumerate(zip(arrays["x"], arrays["dz"], strict=True)):
        z = model.forward(batch_of(x, scenario.norm_batch, c.shared_by), arrays["gamma"], arrays["beta"])
        found = {"z": z} | dict(zip(("dx", "dgamma", "dbeta"), backward(model, dz), strict=True))
        found |= {"state.mean": model.mean, "state.var": model.state()["square"], "state.chi2": model.second}
        for key, value in found.items():
            if key in arrays:
                scale = np.max(np.abs(arrays[key]), axis=tuple(range(arrays[key].ndim - 1)))
                assert np.max(np.abs(value - arrays[key][t]) / scale) < 1e-12, (t, key)
    z = model.infer(arrays["infer.x"], arrays["gamma"], arrays["beta"])
    np.testing.assert_allclose(arrays["infer.z"], z, rtol=1e-11, atol=1e-12)


def test_the_full_set_is_that_of_the_check() -> None:
    found = full_set()
    assert len({name(*one) for one in found}) == len(found)
    assert {scenario.dtype for _, scenario in found} == {"float64"}
    assert {norm for norm, _ in found} == set(NORMS)
    assert [norm for norm, scenario in found if scenario.age] == ["brn", "brn", "mabn"]
    assert checks.VECTORS == NORMS


def test_a_count_that_is_set_goes_on_from_there() -> None:
    ramp = batch_renorm.Ramp(start=50, stop=60, first=1.0, last=3.0)
    settings = {"r_max": ramp, "d_max": 0.0}
    early = Scenario(name="", norm_batch=4, steps=5, space=(), settings=settings)
    late = Scenario(name="", norm_batch=4, steps=5, space=(), settings=settings, age=100, age_after=2)
    first, second = (contents("brn", scenario) for scenario in (early, late))
    assert second["state.iteration"].tolist() == [1, 2, 101, 102, 103]
    same = [bool(np.array_equal(a, b)) for a, b in zip(first["z"], second["z"], strict=True)]
    assert same == [True, True, False, False, False]
    with pytest.raises(ValueError, match="space is None"):
        contents("brn", Scenario(name="", norm_batch=4))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "vectors"
    assert main(["vectors", str(out), "--small", "--norms", "modified-bn"]) == 0
    printed = capsys.readouterr().out.splitlines()
    names = ["modified-bn-start.npz", "modified-bn-several-in-a-call.npz", INDEX]
    assert [Path(line.split("  ")[0]).name for line in printed] == names
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert [entry["file"] for entry in index(out)["files"]] == names[:2]
    (tmp_path / "file").write_text("")
    assert main(["vectors", str(tmp_path / "file" / "x")]) == 1
    assert main(["vectors", str(out), "--norms", "bnn"]) == 2
    assert "unknown norm 'bnn': did you mean 'bn'?" in capsys.readouterr().err
