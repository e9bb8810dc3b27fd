"""All studies: their sizes, and that without runs they claim nothing."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from typing import Any

import pytest
from matplotlib.figure import Figure

from mabn_ref.paper import long, search
from mabn_ref.paper.figures import KINDS
from mabn_ref.paper.output import data_uri
from mabn_ref.paper.study import STUDIES
from mabn_ref.train import results
from tests.paper.made_up import CONTEXT, records


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.plan(CONTEXT, [])])
def test_a_study_without_any_run_says_so_and_claims_nothing(name: str) -> None:
    outcome = STUDIES[name].outcome(CONTEXT, [])
    if name != "theorem2":  # half of which is a simulation
        assert all("no verdict" in line for line in outcome.verdicts)
    assert all(str(table) for table in outcome.tables)


def test_the_same_numbers_give_the_same_file() -> None:
    files = []
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 1], label="a line")
        files.append(data_uri(figure))
    assert files[0] == files[1]
    assert b"<dc:date>" not in base64.b64decode(files[0].partition(",")[2])


def test_the_sizes_of_the_studies() -> None:
    runs = {name: len(study.plan(CONTEXT, [])) for name, study in STUDIES.items()}
    assert runs == {
        "table1": 3 * 12,
        "figure1b": 3 * 36,
        "table2": 3 * 13,
        "table4": 3 * 36,
        "credit": 3 * 8,
        "window": 3 * (7 + 2 * 8 + 3),
        "related": 3 * 12,
        "search": 2 * 6 * search.BUDGET,
        "long": 10 * len(long.FACTORS),
        "figures": 9,
        "theorem1": 0,
        "theorem2": 3,
        "weight_noise": 6,
        "equation6": 18,
        "table3": 3 * 11,
        "table5": 3 * 8,
        "table6": 3 * 13,
        "table7": 3 * 3,
        "table8": 3 * 10,
        "table8_devices": 3 * 10,
        "table9": 0,
    }
    assert set(STUDIES["table7"].plan(CONTEXT, [])) <= set(STUDIES["table3"].plan(CONTEXT, []))
    assert set(STUDIES["table1"].plan(CONTEXT, [])) <= set(STUDIES["figure1b"].plan(CONTEXT, []))


# table9 measures: test_folding.py; table6 is drawn as table3 is
@pytest.mark.parametrize("name", [name for name in STUDIES if name not in ("table6", "table9")])
def test_pictures_are_the_same_from_the_file(name: str) -> None:
    """The data are what JSON gives back, and all that drawing is given."""
    study, context = STUDIES[name], CONTEXT._replace(settings={"epochs": 1, "width": 16, "lr": 0.1, "test_size": 4})
    found: list[dict[str, Any]] = []
    while missing := [run for run in study.plan(context, found) if not results.find(found, run)]:
        found += records(missing, lambda config: 40 + config.seed % 7 + config.norm_batch / 10)
    for record in found:
        record |= {"mean_iou": 30.0 + record["config"]["seed"], "predictions": ["012345" * 170 + "0123"] * 4}
        if study.file == "boxes.jsonl":
            of_one = [[0, 0.9, 8.0, 8.0, 24.0, 24.0]]
            record |= dict.fromkeys(("ap", "ap50", "ap75", "own_ap"), 12.0 + record["config"]["seed"])
            record["predictions"] = [of_one] * 4
        record |= {
            "population_error": 39.0,
            "fitted_error": 4.0,
            "augmented_error": 39.5,
            "statistics": {"norm4": {"psi": {kind: [1.0, 2.0] for kind in KINDS}}},
        }
    data = study.outcome(context, found).data
    read = json.loads(json.dumps(data, allow_nan=False))
    assert repr(read) == repr(data)  # in types, too, so that what is drawn of one is what is drawn of the other
    figures = study.draw(read)
    assert figures
    for figure in figures.values():
        assert any(axes.lines or axes.images or axes.containers for axes in figure.axes)
        figure.set_layout_engine("none")  # which follows from what is drawn, and takes longest
        assert data_uri(figure)


def test_every_name_has_its_study() -> None:
    assert len({study.title for study in STUDIES.values()}) == len(STUDIES) == 21
    with pytest.raises(KeyError):
        STUDIES["table10"]


def test_a_simulation_does_not_load_the_training_loop() -> None:
    code = (
        "import sys\n"
        "from mabn_ref.cli import main\n"
        "from mabn_ref.paper import output\n"
        "output._picture = lambda *_, **__: b'drawn, and not made into a file: that loads nothing of ours'\n"
        "assert main(['paper', 'theorem1', '--out', sys.argv[1]]) == 0\n"
        "loaded = {'mabn_ref.train.loop', 'mabn_ref.train.runs', 'mabn_ref.train.sweeps', 'mabn_ref.paper.table8'}\n"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code, folder], check=True, stdout=subprocess.DEVNULL)
