"""Skeletons: what an agent, or a whole project, begins with."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

__all__ = ["NewError", "new_agent", "new_project"]


class NewError(Exception):
    """The skeleton cannot be written; the message says why. Nothing was written."""


def new_agent(name: str) -> list[Path]:
    """Writes an agent and its test below the current directory.

    Args:
        name: that of its module: ``mailer``, or ``shop.mailer`` in a package that is there.

    Returns:
        The files.

    Raises:
        NewError: the name is no good, there is no such package, or a file is there already.
    """
    *package, agent = name.split(".")
    _check_name(name, agent)
    directory = _package_directory(package)
    words = _words(agent, name)
    return _write({directory / f"{agent}.py": _AGENT, Path(f"tests/test_{agent}.py"): _AGENT_TEST}, words)


def new_project(name: str) -> list[Path]:
    """Writes a project with one agent into a new directory.

    Args:
        name: that of the directory; its package is called the same, with underscores for hyphens.

    Returns:
        The files.

    Raises:
        NewError: the name is no good, or the directory is there and not empty.
    """
    package = name.replace("-", "_")
    _check_name(name, package)
    directory = Path(name)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise NewError(f"{name} is there already")
    agent = "notebook"
    words = _words(agent, f"{package}.{agent}") | {"project": name, "package": package}
    return _write(
        {
            directory / "pyproject.toml": _PYPROJECT,
            directory / "README.md": _README,
            directory / "events.jsonl": _EVENTS,
            directory / package / "__init__.py": _INIT,
            directory / package / f"{agent}.py": _AGENT,
            directory / package / "main.py": _MAIN,
            directory / "tests" / f"test_{agent}.py": _AGENT_TEST,
        },
        words,
    )


def _check_name(written: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise NewError(f"{written!r} is no name for a module: expected lower-case letters, digits and underscores")
    if name in sys.stdlib_module_names or name in _TAKEN:
        raise NewError(f"{written!r}: there is a module {name!r} already, which would not be found any more")
    if _class_name(name) in _IMPORTED:
        raise NewError(f"{written!r}: the class would be called {_class_name(name)}, as one of prunella's own")


_TAKEN = frozenset({"prunella", "pytest", "tests", "trio"})
_IMPORTED = frozenset({"Agent", "Emit", "Rejected"})


def _package_directory(package: list[str]) -> Path:
    relative = Path(*package)
    if all(part.isidentifier() for part in package):
        for directory in (relative, "src" / relative):
            if directory.is_dir():
                return directory
    raise NewError(f"there is no package {'.'.join(package)!r} in this directory, nor in 'src'")


def _class_name(module: str) -> str:
    return "".join(part.capitalize() for part in module.split("_"))


def _words(agent: str, module: str) -> dict[str, str]:
    return {"agent": agent, "module": module, "class": _class_name(agent)}


def _write(files: Mapping[Path, str], words: Mapping[str, str]) -> list[Path]:
    for path in files:
        if path.exists():
            raise NewError(f"{path} is there already")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(Template(text).substitute(words))
    except OSError as error:
        raise NewError(f"{error.filename}: {error.strerror}") from None
    return list(files)


_AGENT = '''\
"""The agent $agent."""

from prunella import Agent, Emit, Rejected, on


class $class(Agent, name="$agent"):
    """Keeps notes.

    Attributes:
        notes: what it was told, in order.
    """

    notes: tuple[str, ...] = ()

    @on("$agent.note")
    def note(self, text: str):
        """Keeps a text, and tells that it did."""
        if not text:
            raise Rejected("the text is empty")
        return self.set(notes=(*self.notes, text)), Emit("$agent.noted", {"text": text})
'''

_AGENT_TEST = """\
import pytest
from prunella import Emit, Rejected
from prunella.testing import crash

from $module import $class


def test_a_text_is_kept_and_told():
    agent, directives = $class().cmd("$agent.note", text="hello")
    assert agent == $class(notes=("hello",))
    assert directives == (Emit("$agent.noted", {"text": "hello"}),)


def test_an_empty_text_is_refused():
    with pytest.raises(Rejected, match="empty"):
        $class().cmd("$agent.note", text="")


@pytest.mark.trio
async def test_a_crash_takes_no_notes_along(runtime):
    agent = await runtime.start_agent($class, "$agent", restore="last")
    await agent.call("$agent.note", text="hello")
    await crash(agent)
    assert agent.state().notes == ("hello",)
"""

_INIT = '''\
"""Agents that come back after a crash."""
'''

_MAIN = '''\
"""What runs: `prunella run $package.main`."""

from prunella import AgentSpec, Supervisor

from .$agent import $class

tree = Supervisor([AgentSpec($class, restore="last")], id="$package")
'''

_EVENTS = """\
{"specversion": "1.0", "id": "1", "source": "/readme", "type": "$agent.note", "data": {"text": "hello"}}
{"specversion": "1.0", "id": "2", "source": "/readme", "type": "$agent.note", "data": {"text": ""}}
"""

_PYPROJECT = """\
[project]
name = "$project"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["prunella[terminal]"]

[dependency-groups]
test = ["prunella[testing]"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
trio_mode = true
"""

_README = """\
# $project

Install what it needs, once:

```sh
python -m pip install 'prunella[terminal,testing]'
```

Test it:

```sh
python -m pytest
```

Run it until Ctrl-C, or on a file of events:

```sh
prunella run $package.main
prunella run $package.main --signals events.jsonl
```

See what an agent takes, and add another one:

```sh
prunella describe $module:$class
prunella new agent $package.another
```
"""
