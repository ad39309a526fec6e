"""The commands of the project: `nox -s NAME`, or `nox` for all that must be green before a change goes in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

SUPPORTED = ("3.11", "3.12", "3.13")
EXTRAS = ".[actions,http,mcp,msgpack,terminal,web]"
PROJECT = nox.project.load_toml("pyproject.toml")

IN_CI = bool(os.environ.get("CI"))

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "no" if IN_CI else "yes"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "types", "docs", "architecture", "demo"]


def show_pyenv_interpreters() -> None:
    """Put pyenv's interpreters on the path: its shims answer only for the version that is selected."""
    path = os.environ["PATH"].split(os.pathsep)
    for shims in [Path(entry) for entry in path if Path(entry).name == "shims"]:
        for version in SUPPORTED:
            found = sorted(shims.parent.glob(f"versions/{version}.*/bin/python{version}"))
            path = [*(str(python.parent) for python in found[-1:]), *path]
    os.environ["PATH"] = os.pathsep.join(path)


def is_there(version: str) -> bool:
    if "{}.{}".format(*sys.version_info) == version:
        return True
    command = shutil.which(f"python{version}")
    return command is not None and subprocess.run([command, "-V"], capture_output=True).returncode == 0


show_pyenv_interpreters()
NEWEST = next((version for version in reversed(SUPPORTED) if is_there(version)), None)


def group(*names: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PROJECT, *names)


@nox.session(python=SUPPORTED)
def tests(session: nox.Session) -> None:
    """The whole suite on the newest interpreter there is, the quick part of it on the others."""
    session.install(EXTRAS, *group("test"))
    quick = [] if session.python == NEWEST else ["-m", "not slow"]
    profile = "full" if session.python == NEWEST else "quick"
    env = {"PRUNELLA_TEST_PROFILE": profile}
    session.run("pytest", "-n", "2", *quick, *session.posargs, env=env)
    if not session.posargs:
        # Examples of a page build on each other: two processes that share them would miss what stands before.
        session.run("pytest", "-q", "README.md", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and suspicious constructs (ruff, its rules for async code too), and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types of the library (mypy), and what its users' type checkers see (mypy and pyright)."""
    session.install("-e", EXTRAS, *group("types"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings being errors, and execute every example in it."""
    session.install("-e", EXTRAS, *group("docs", "test"))
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")
    session.run("pytest", "-q", "README.md", "docs", "src", *session.posargs)


@nox.session
def architecture(session: nox.Session) -> None:
    """No layer imports one above it, and what decides imports no Trio."""
    session.install("-e", ".", *group("architecture"))
    session.run("lint-imports", "--no-cache")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the helpdesk: two agents, thousands of events, some of which crash one of the agents."""
    session.install(".[terminal]")
    session.run("prunella", "run", "examples/helpdesk.py", "--signals", "examples/data/helpdesk.jsonl")


@nox.session(python=NEWEST)
def bench(session: nox.Session) -> None:
    """Measure: `nox -s bench`, or `nox -s bench -- supervision --its-own-option`."""
    session.install(EXTRAS, *group("bench"))
    files = {
        path.stem: path
        for path in sorted(Path("benchmarks").glob("*.py"))
        if re.search(r"^def main\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    chosen = [argument for argument in session.posargs if argument in files]
    options = [argument for argument in session.posargs if argument not in files]
    for name in chosen or files:
        peer = PEERS.get(name)
        peers = [] if peer is None else [f"--{peer}", python_with(session, peer)]
        session.run("python", str(files[name]), *peers, *options)


PEERS = {"supervision": "triotp", "agents": "triotp", "durability": "dbos"}


def python_with(session: nox.Session, peer: str) -> str:
    """What is compared with must not choose our versions: it gets an environment of its own."""
    environment = Path(session.virtualenv.location) / peer
    python = environment / session.virtualenv.bin_paths[0].rpartition(os.sep)[2] / "python"
    if not python.exists():
        session.run("python", "-m", "venv", str(environment))
    session.run(str(python), "-m", "pip", "install", "--quiet", *group(peer), external=True)
    return str(python)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the suite with branch coverage; the report is printed, and written to `htmlcov`."""
    session.install("-e", EXTRAS, *group("test", "coverage"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "html", "-q")
    session.run("coverage", "report")


@nox.session
def soak(session: nox.Session) -> None:
    """Run the tests of supervision 200 times, each time in another order and with other random examples.

    `nox -s soak -- 20` runs them 20 times; further arguments go to pytest.
    """
    session.install(EXTRAS, *group("test", "soak"))
    counts = [argument for argument in session.posargs if argument.isdecimal()]
    others = [argument for argument in session.posargs if not argument.isdecimal()]
    rounds = int(counts[0]) if counts else 200
    for seed in range(1, rounds + 1):
        session.log(f"round {seed} of {rounds}")
        session.run(
            "pytest",
            *("-q", "-x", "-n", "2", "-p", "no:cacheprovider"),
            *(f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"),
            "tests/supervision",
            *others,
            silent=True,  # only the round that fails is of interest, and nox prints that one
        )


@nox.session
def torture(session: nox.Session) -> None:
    """Kill processes with durable agents 5 000 times, and look for what is lost, invented or counted twice.

    `nox -s torture -- 100000` kills as often as that; further arguments go to pytest.
    """
    session.install(EXTRAS, *group("test"))
    counts = [argument for argument in session.posargs if argument.isdecimal()]
    others = [argument for argument in session.posargs if not argument.isdecimal()]
    kills = int(counts[0]) if counts else 5000
    # Many short lives of a database, each with other chances: an old one has everything in its history.
    for seed in range(1, max(2, kills // 500 + 1)):
        env = {"PRUNELLA_KILLS": str(min(kills, 500)), "PRUNELLA_SEED": str(seed)}
        session.run("pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/durability/test_kills.py", *others, env=env)
