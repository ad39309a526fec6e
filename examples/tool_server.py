"""A tool server: notes in a directory and a little arithmetic, for a language model.

    python examples/tool_server.py --notes ~/notes                           # MCP over stdio, started by its client
    python examples/tool_server.py --notes ~/notes --bind 127.0.0.1:8000     # MCP over HTTP, at /mcp
    python examples/tool_server.py --notes ~/notes --list openai             # the definitions of the tools

Notes can be read and searched; to write one needs `--allow-writing`. Nothing outside of the directory can be reached.

Needs `prunella[mcp]`, and `prunella[web]` for HTTP.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from prunella.actions import Catalog, Entry, Policy, action, basic_actions, file_actions, run


@attrs.frozen
class Found:
    """A note that fits.

    Attributes:
        name: its file.
        line: the first line that fits.
    """

    name: str
    line: str


def notes_catalog(directory: Path) -> Catalog:
    """The tools: those for files, one that searches, and arithmetic."""
    files = file_actions(roots=[directory])

    @action(timeout=10.0, idempotent=True, tags=("search", "notes"))
    async def search_notes(text: str, limit: int = 10) -> list[Found]:
        """Finds the notes that contain a text.

        Args:
            text: what to look for.
            limit: how many notes at most.
        """
        found: list[Found] = []
        for name in await run(files["list_directory"]):
            if name.endswith(".md") and len(found) < limit:
                lines = (await run(files["read_file"], {"path": name})).splitlines()
                fitting = [line for line in lines if text.casefold() in line.casefold()]
                found += [Found(name, fitting[0])] if fitting else []
        return found

    arithmetic = [made for made in basic_actions().values() if made.category == "arithmetic"]
    return Catalog(
        [
            search_notes,
            files["read_file"],
            files["list_directory"],
            Entry(files["write_file"], risk="medium"),
            Entry(files["delete_file"], visibility="internal", risk="high"),
            *arithmetic,
        ]
    )


async def serve_http(catalog: Catalog, bind: str, **options: Any) -> None:
    """Serves until it is cancelled."""
    from hypercorn.config import Config
    from hypercorn.trio import serve

    from prunella.actions.mcp import mcp_app

    config = Config()
    config.bind = [bind]
    app: Any = mcp_app(catalog, host=bind.rpartition(":")[0], **options)  # hypercorn's own type of it is narrower
    await serve(app, config)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--notes", type=Path, required=True, help="the directory of the notes")
    arguments.add_argument("--allow-writing", action="store_true", help="lets notes be written")
    arguments.add_argument("--bind", help="where to listen; without it, standard input and output are served")
    arguments.add_argument("--list", choices=["openai", "anthropic", "mcp"], help="prints the tools and ends")
    chosen = arguments.parse_args()
    catalog = notes_catalog(chosen.notes)
    policy = Policy(max_risk="medium" if chosen.allow_writing else "low")
    if chosen.list is not None:
        print(json.dumps(catalog.tools(format=chosen.list), indent=2))
    elif chosen.bind is not None:
        trio.run(partial(serve_http, catalog, chosen.bind, policy=policy))
    else:
        from prunella.actions.mcp import serve_stdio

        trio.run(partial(serve_stdio, catalog, name="notes", policy=policy))


if __name__ == "__main__":
    main()
