"""A catalog as an MCP server, over stdio or streamable HTTP; extra ``prunella[mcp]``.

`mcp_server` makes a server of the official ``mcp`` package, which runs on Trio as it is. What a client may call is
what a `Policy` allows; what it does wrong is an answer that a model can use:

.. code-block:: python

    import trio
    from mcp import Client
    from prunella.actions import Catalog, action
    from prunella.actions.mcp import mcp_server

    @action
    async def greet(name: str) -> str:
        \"\"\"Says hello.\"\"\"
        return f"Hello {name}"

    async def main():
        async with Client(mcp_server(Catalog([greet]))) as client:      # in one process, as for tests
            [tool] = (await client.list_tools()).tools
            assert tool.description == "Says hello."
            result = await client.call_tool("greet", {"name": "Ann"})
            assert not result.is_error
            assert result.content[0].text == '"Hello Ann"'

    trio.run(main)

`serve_stdio` speaks with whoever has started the process; `mcp_app` is an ASGI application for a server such as
Hypercorn.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version as installed_version
from typing import Any, Final

try:
    import mcp_types as types
except ImportError as error:
    raise ImportError("prunella.actions.mcp needs the package mcp; install prunella[mcp]") from error
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server
from starlette.applications import Starlette

from ..errors import InvalidArgument
from ..telemetry import Listener
from ._catalog import Catalog
from ._policy import Policy, refusal
from ._runner import Runner, open_runner

__all__ = ["mcp_app", "mcp_server", "serve_stdio"]

_DEFAULT_POLICY: Final = Policy()


def mcp_server(
    catalog: Catalog,
    *,
    name: str = "prunella",
    version: str | None = None,
    instructions: str | None = None,
    policy: Policy = _DEFAULT_POLICY,
    context: Mapping[str, Any] | None = None,
    telemetry: Iterable[Listener] = (),
) -> Server[Runner]:
    """An MCP server whose tools are the public entries of a catalog that a policy allows.

    Args:
        catalog: the actions.
        name: the name of the server.
        version: its version; that of prunella if it is left out.
        instructions: what a model should know of it.
        policy: what may be called; what is refused in any case is not listed either.
        context: values for the `ActionContext` of each call.
        telemetry: listeners, which hear of every run.

    Raises:
        InvalidArgument: catalog or policy is something else.
    """
    if not isinstance(catalog, Catalog):
        raise InvalidArgument("mcp_server", "catalog", "a Catalog", catalog)
    if not isinstance(policy, Policy):
        raise InvalidArgument("mcp_server", "policy", "a Policy", policy)
    listed = [
        types.Tool(
            name=tool["name"],
            description=tool["description"],
            input_schema=tool["inputSchema"],
            output_schema=tool.get("outputSchema"),
        )
        for tool in Catalog(entry for entry in catalog if refusal(entry, policy) is None).tools()
    ]
    structured = frozenset(tool.name for tool in listed if tool.output_schema is not None)

    @asynccontextmanager
    async def lifespan(server: Server[Runner]) -> AsyncIterator[Runner]:
        async with open_runner(telemetry=telemetry) as runner:
            yield runner

    async def list_tools(
        request: ServerRequestContext[Runner], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call(request: ServerRequestContext[Runner], params: types.CallToolRequestParams) -> types.CallToolResult:
        runner = request.lifespan_context
        result = await runner.call_tool(catalog, params.name, params.arguments or {}, policy=policy, context=context)
        return types.CallToolResult(
            content=[types.TextContent(text=result.content)],
            structured_content=json.loads(result.content) if result.ok and params.name in structured else None,
            is_error=not result.ok,
        )

    return Server(
        name,
        version=installed_version("prunella") if version is None else version,
        instructions=instructions,
        lifespan=lifespan,
        on_list_tools=list_tools,
        on_call_tool=call,
    )


async def serve_stdio(catalog: Catalog, **options: Any) -> None:
    """Serves a catalog to whoever has started this process, until standard input ends.

    Args:
        catalog: the actions.
        options: as of `mcp_server`.
    """
    server = mcp_server(catalog, **options)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def mcp_app(catalog: Catalog, *, path: str = "/mcp", host: str = "127.0.0.1", **options: Any) -> Starlette:
    """An ASGI application that serves a catalog over streamable HTTP.

    It is for one lifespan. Whoever can reach it can call what the policy allows: put authentication before it.

    Args:
        catalog: the actions.
        path: where it answers.
        host: where it will listen; on the local host it refuses requests that name another one.
        options: as of `mcp_server`.
    """
    return mcp_server(catalog, **options).streamable_http_app(streamable_http_path=path, host=host)
