"""What is refused before anything runs."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
from tests.cli.commands import ECHO, PLAIN, word

from prunella import Supervisor
from prunella.cli import main
from prunella.cli._target import TargetError, load


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(logging.getLogger("prunella"), "handlers", [])
    Path("echo.py").write_text(ECHO)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file.endswith(".py") and (not os.path.isabs(file) or file.startswith(str(tmp_path))):
            del sys.modules[name]


def plain(text: str) -> None:
    Path("plain.py").write_text(f"from prunella import Agent, Supervisor\n{text}")


@pytest.mark.parametrize("target", ["echo.py", "echo.py:tree", "echo", "echo:tree", "./echo.py"])
def test_every_form_of_a_target(target):
    loaded = load(target)
    assert loaded.name == target
    assert isinstance(loaded.spec, Supervisor)
    assert loaded.has_agents


def test_a_target_may_be_a_single_agent():
    loaded = load("echo.py:alone")
    assert loaded.spec.id == "echo"
    assert loaded.has_agents


@pytest.mark.parametrize(
    "text", ["make = lambda: Supervisor([], id='x')", "class make(): tree = 1", "make = Supervisor([], id='x')"]
)
def test_a_tree_or_a_function_that_returns_one(text):
    plain(text)
    if "class" in text:
        with pytest.raises(TargetError, match="'make\\(\\)' is no Supervisor or AgentSpec, but make"):
            load("plain.py:make")
    else:
        assert load("plain.py:make").spec == Supervisor([], id="x")


def test_a_file_may_import_what_lies_beside_it(here):
    (here / "below").mkdir()
    (here / "below/beside.py").write_text("from prunella import Supervisor\nspec = Supervisor([])")
    (here / "below/top.py").write_text("from beside import spec as tree")
    assert load("below/top.py").spec == Supervisor([])


def test_a_file_does_not_take_the_place_of_a_module_of_its_name(here):
    import trio

    (here / "trio.py").write_text(ECHO.replace("import trio\n", ""))
    load("trio.py")
    assert sys.modules["trio"] is trio


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "'' is no target"),
        ("echo:", "'echo:' is no target"),
        ("echo.py:a-b", "is no target"),
        ("missing.py", "missing.py: no such file"),
        ("missing", "there is no module 'missing'"),
        ("echo.missing", "there is no module 'echo.missing'"),
        (".echo", "there is no module '.echo'"),
        ("echo.py:tee", "echo.py: has no 'tee' .*; did you mean echo.py:tree\\?"),
        ("echo.py:say", "'say' is an async function"),
        ("echo.py:__name__", "'__name__' is no Supervisor or AgentSpec, but str"),
        ("echo.py:Echo", "'Echo' is a class of agents; what runs is an AgentSpec\\(Echo\\)"),
        ("plain.py:needs", "needs\\(\\) failed\nTypeError: .*missing 1 required"),
    ],
)
def test_a_bad_target_is_told(target, message):
    plain("def needs(x): pass")
    with pytest.raises(TargetError, match=message):
        load(target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("x = (", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import missing", "ModuleNotFoundError: No module named 'missing'"),
    ],
)
@pytest.mark.parametrize("target", ["plain", "plain.py"])
def test_a_target_that_raises_is_told(text, message, target):
    Path("plain.py").write_text(text)
    with pytest.raises(TargetError, match=f"^{target} cannot be loaded\n") as caught:
        load(target)
    assert message in str(caught.value)
    assert "importlib" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing", "no such file or directory"),
        (".", "is a directory"),
        ("empty", "is empty"),
        ("blank", "is empty"),
    ],
)
def test_a_file_without_events_is_told(capsys, file, message):
    Path("empty").touch()
    Path("blank").write_text("\n  \n\n")
    assert main(["run", "echo.py", "--signals", file]) == 2
    assert capsys.readouterr().err.startswith(f"prunella: {file}: {message}")


def test_a_tree_without_agents_takes_no_signals(capsys):
    Path("plain.py").write_text(PLAIN)
    Path("events").write_text(word("one"))
    assert main(["run", "plain.py", "--signals", "events"]) == 2
    assert "plain.py: has no agents, so nobody would hear" in capsys.readouterr().err


def test_agents_are_found_at_any_depth_of_a_tree():
    text = "from prunella import AgentSpec\nclass A(Agent, name='a'): pass\n"
    plain(f"{text}tree = Supervisor([Supervisor([AgentSpec(A)], id='in')])")
    assert load("plain.py").has_agents


@pytest.mark.parametrize(
    "arguments",
    [["walk"], ["run"], ["run", "echo.py", "--rate", "5"], ["run", "echo.py", "--signals", "x", "--rate", "nan"]],
)
def test_wrong_usage_is_told(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: prunella" in capsys.readouterr().err
