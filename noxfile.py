"""The commands of CONTRIBUTING.md: `nox` runs what should pass before a commit, `nox -l` lists the others.

Each makes itself an environment, once; `nox --no-venv` takes the one that is active.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["check"]
nox.options.reuse_existing_virtualenvs = True
PROJECT = nox.project.load_toml("pyproject.toml")
DEV, REAL_LAYERS = (nox.project.dependency_groups(PROJECT, name) for name in ("dev", "real-layers"))
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


def prepare(session: nox.Session) -> None:
    if session.venv_backend != "none":
        session.install("-q", "-e", ".", *DEV)
    session.env.update(ONE_THREAD)


@nox.session
def check(session: nox.Session) -> None:
    """Lint, format, types and the fast tests: the loop of work, a minute or two."""
    prepare(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("pytest", "-q", "--fast", "-n", "auto", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests that need no other framework; what follows `--` goes to pytest."""
    prepare(session)
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The pages, into docs/_build; a warning is an error."""
    prepare(session)
    session.run("sphinx-build", "-q", "-W", "-n", "-b", "html", "docs", "docs/_build", *session.posargs)


@nox.session
def real_layers(session: nox.Session) -> None:
    """The check on the layers of published packages: some gigabytes to install, some minutes to run."""
    if session.venv_backend != "none":
        session.install("-q", "-e", ".", *REAL_LAYERS)
    session.env.update(ONE_THREAD)
    session.run("pytest", "-q", "-m", "real_layers", "tests/check/test_real_layers.py", *session.posargs)


@nox.session(venv_backend="none")
def versions(session: nox.Session) -> None:
    """The fast tests with the lowest versions that pyproject allows, and with the newest."""
    session.run("bash", ".ci/versions", *session.posargs, external=True)


@nox.session(venv_backend="none")
def ci(session: nox.Session) -> None:
    """Everything that decides on a change. It makes .venv anew."""
    session.run("bash", ".ci/run", external=True)
