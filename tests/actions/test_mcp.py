"""A catalog over MCP, looked at with the client of the official package: in one process, over stdio, over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

pytest.importorskip("mcp")

from mcp import Client
from mcp.client.stdio import StdioServerParameters

import prunella
from prunella.actions import ActionContext, Catalog, Entry, Policy, action
from prunella.actions.mcp import mcp_app, mcp_server
from prunella.errors import InvalidArgument
from prunella.telemetry import Event

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@attrs.frozen
class Point:
    x: int
    y: int = 0


@action
async def move(point: Point, by: int = 1) -> Point:
    """Moves a point.

    Args:
        by: how far.
    """
    return Point(point.x + by, point.y)


@action
async def whoami(context: ActionContext) -> str:
    """Who calls."""
    return str(context.values["user"])


@action
async def dangerous() -> None:
    """Does harm."""


CATALOG = Catalog([move, whoami, Entry(dangerous, risk="high")])


async def check(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"move", "whoami"}
    assert tools["move"].input_schema["properties"]["by"]["description"] == "how far."
    result = await client.call_tool("move", {"point": {"x": 1}, "by": 2})
    assert not result.is_error
    assert result.structured_content == {"x": 3, "y": 0}
    assert (await client.call_tool("whoami", {})).content[0].text == '"ann"'  # type: ignore[union-attr]
    for name, arguments in (("move", {"point": {"x": "1"}}), ("dangerous", {}), ("nothing", {})):
        refused = await client.call_tool(name, arguments)
        assert refused.is_error
        assert "error" in refused.content[0].text  # type: ignore[union-attr]


async def test_in_one_process() -> None:
    events: list[Event] = []
    server = mcp_server(CATALOG, context={"user": "ann"}, telemetry=[events.append])
    with trio.fail_after(20):
        async with Client(server) as client:
            await check(client)
    assert [event.name for event in events if event.name == "action.stop"]


async def test_a_policy_opens_more() -> None:
    with trio.fail_after(20):
        async with Client(mcp_server(CATALOG, policy=Policy(max_risk="high"))) as client:
            assert len((await client.list_tools()).tools) == 3
            assert not (await client.call_tool("dangerous", {})).is_error


@pytest.mark.slow
async def test_over_stdio() -> None:
    code = (
        "import trio; from tests.actions.test_mcp import CATALOG; from prunella.actions.mcp import serve_stdio; "
        "from functools import partial; trio.run(partial(serve_stdio, CATALOG, context={'user': 'ann'}))"
    )
    root = Path(__file__).parents[2]
    server = StdioServerParameters(command=sys.executable, args=["-c", code], cwd=str(root))
    with trio.fail_after(60):
        async with Client(server) as client:
            await check(client)


@pytest.mark.slow
async def test_over_http(nursery: trio.Nursery) -> None:
    config_module = pytest.importorskip("hypercorn.config")
    from hypercorn.trio import serve

    config = config_module.Config()
    config.bind = ["127.0.0.1:0"]
    stop = trio.Event()

    async def run(task_status: trio.TaskStatus[Any]) -> None:
        app = mcp_app(CATALOG, context={"user": "ann"})
        await serve(app, config, shutdown_trigger=stop.wait, task_status=task_status)  # type: ignore[arg-type]

    [url] = await nursery.start(run)
    with trio.fail_after(60):
        async with Client(f"{url}/mcp") as client:
            await check(client)
    stop.set()


def test_a_server_needs_a_catalog_and_a_policy() -> None:
    wrong: Any = 5
    with pytest.raises(InvalidArgument, match="mcp_server: catalog must be a Catalog, got 5"):
        mcp_server(wrong)
    with pytest.raises(InvalidArgument, match="mcp_server: policy must be a Policy, got 5"):
        mcp_server(CATALOG, policy=wrong)


async def test_a_server_says_its_version() -> None:
    async with Client(mcp_server(CATALOG)) as client:
        assert client.server_info.version == prunella.__version__ != ""
    async with Client(mcp_server(CATALOG, version="7.1")) as client:
        assert client.server_info.version == "7.1"
