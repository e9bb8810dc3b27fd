"""The built pages, made once for all tests that look at them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import browser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages. Building fails on any warning, a hole in the trace among them.

    Pages that were just built can be named in the environment variable MABN_REF_HTML.
    """
    if built := os.environ.get("MABN_REF_HTML"):
        return Path(built)
    for module in ("sphinx", "furo", "sphinx-mathjax-offline", "mpld3", "sphinx_gallery", "matplotlib"):
        pytest.importorskip(module, reason=f'{module} is not installed: pip install "mabn_ref[docs]"')
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _built(tmp_path_factory.mktemp("docs"))
    # A build writes the gallery and the annotated source beside the pages: the first of the processes that run tests
    # side by side builds, and the others wait for it.
    import fcntl

    folder = tmp_path_factory.getbasetemp().parent / "docs"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists():
            _built(folder)
            done.touch()
    return folder / "html"


def _built(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-n",
        "-b",
        "html",
        "-d",
        str(folder / "trees"),
    ]
    # Nothing listens there: a build that wants the network fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(folder / "html")],
        env=os.environ | nowhere | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    if browser.executable() is None:
        pytest.skip(f"no browser, none of {', '.join(browser.NAMES)} is installed")
    opened = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
