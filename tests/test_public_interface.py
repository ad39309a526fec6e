from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import prunella

PURE_PACKAGES = ("agents", "conversion", "errors", "signals", "telemetry")
HOMES = prunella._HOMES


def run_python(code: str) -> None:
    """A fresh interpreter: what is imported here already does not count."""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def typed_names() -> Iterator[tuple[str, str]]:
    """Name and home of each import in the `TYPE_CHECKING` block."""
    tree = ast.parse(inspect.getsource(prunella))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            for imported in node.names:
                assert imported.asname == imported.name, "without `as` a type checker takes the name as private"
                yield imported.name, node.module


def test_importing_the_package_does_not_import_trio() -> None:
    run_python("import prunella, sys; assert 'trio' not in sys.modules")


@pytest.mark.parametrize("package", PURE_PACKAGES)
def test_a_pure_package_does_not_import_trio(package: str) -> None:
    if find_spec(f"prunella.{package}") is None:
        pytest.skip(f"prunella.{package} is not there yet")
    run_python(f"import prunella.{package}, sys; assert 'trio' not in sys.modules")


@pytest.mark.parametrize("name", HOMES)
def test_a_name_is_the_same_object_as_in_its_home(name: str) -> None:
    home = importlib.import_module(f"prunella.{HOMES[name]}")
    assert getattr(prunella, name) is getattr(home, name)


@pytest.mark.parametrize("name", HOMES)
def test_a_name_is_public_in_its_home(name: str) -> None:
    home = importlib.import_module(f"prunella.{HOMES[name]}")
    assert name in home.__all__


def test_type_checkers_see_the_names_of_the_table() -> None:
    assert dict(typed_names()) == HOMES


def test_the_table_is_sorted() -> None:
    assert list(HOMES) == sorted(HOMES)


def test_dir_names_what_was_not_used_yet() -> None:
    run_python("import prunella; assert {'Child', 'Signal', '__version__'} <= set(dir(prunella))")


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert prunella.__version__ == version("prunella")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'prunella' has no attribute 'Supervizor'"):
        _ = prunella.Supervizor


def packages() -> list[str]:
    root = Path(prunella.__path__[0])
    return sorted(path.parent.name for path in root.glob("*/__init__.py"))


@pytest.mark.parametrize("package", packages())
def test_what_a_package_promises_it_has(package: str) -> None:
    module = importlib.import_module(f"prunella.{package}")
    for name in module.__all__:
        assert getattr(module, name, None) is not None, name
    assert len(set(module.__all__)) == len(module.__all__)
