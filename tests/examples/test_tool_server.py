"""The tool server, as a model and as an MCP client see it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import trio
from examples.tool_server import main, notes_catalog

from prunella.actions import call_tool


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "shopping.md").write_text("# Shopping\nBuy milk\n")
    (tmp_path / "ideas.md").write_text("A self-healing herb\n")
    return tmp_path


async def test_notes_are_found(notes: Path) -> None:
    result = await call_tool(notes_catalog(notes), "search_notes", '{"text": "MILK"}')
    assert json.loads(result.content) == [{"name": "shopping.md", "line": "Buy milk"}]


async def test_writing_wants_to_be_allowed_and_deleting_is_not_offered(notes: Path) -> None:
    catalog = notes_catalog(notes)
    for name, arguments in (
        ("write_file", {"path": "new.md", "content": "x"}),
        ("delete_file", {"path": "ideas.md"}),
        ("read_file", {"path": "../x"}),
    ):
        assert not (await call_tool(catalog, name, arguments)).ok
    assert sorted(path.name for path in notes.iterdir()) == ["ideas.md", "shopping.md"]  # noqa: ASYNC240


def test_the_list_of_tools(notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tool_server.py", "--notes", str(notes), "--list", "openai"])
    main()
    names = [tool["function"]["name"] for tool in json.loads(capsys.readouterr().out)]
    assert "search_notes" in names
    assert "delete_file" not in names


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
async def test_over_mcp(notes: Path) -> None:
    pytest.importorskip("mcp")
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    example = Path(__file__).parents[2] / "examples" / "tool_server.py"
    server = StdioServerParameters(command=sys.executable, args=[str(example), "--notes", str(notes)])
    with trio.fail_after(60):
        async with Client(server) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"search_notes", "add"} <= names
            assert "write_file" not in names
            result = await client.call_tool("read_file", {"path": "ideas.md"})
            assert result.content[0].text == '"A self-healing herb\\n"'  # type: ignore[union-attr]
