from __future__ import annotations

import ast
from pathlib import Path

import pytest

import prunella.dispatch

DECISIONS = (
    "_breaker",
    "_errors",
    "_http_targets",
    "_lanes",
    "_retry",
    "_secrets",
    "_shown",
    "_signature",
)


@pytest.mark.parametrize("module", DECISIONS)
def test_what_decides_imports_neither_trio_nor_httpx(module: str) -> None:
    source = Path(prunella.dispatch.__path__[0], f"{module}.py").read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add((node.module or "").partition(".")[0])
    assert not imported & {"trio", "httpx", "anyio", "asyncio"}
