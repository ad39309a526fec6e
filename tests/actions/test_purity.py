from __future__ import annotations

import ast
from pathlib import Path

import pytest

import prunella.actions

DECISIONS = (
    "_action",
    "_catalog",
    "_conditions",
    "_confined",
    "_context",
    "_errors",
    "_events",
    "_graph",
    "_instruction",
    "_options",
    "_policy",
    "_preparation",
    "_redaction",
    "_references",
    "_results",
    "_retry",
    "_search",
    "_signature",
    "_step",
    "_tool_schema",
    "_undo",
)


@pytest.mark.parametrize("module", DECISIONS)
def test_what_decides_imports_neither_trio_nor_httpx(module: str) -> None:
    source = Path(prunella.actions.__path__[0], f"{module}.py").read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add((node.module or "").partition(".")[0])
    assert not imported & {"trio", "httpx", "anyio", "asyncio"}
