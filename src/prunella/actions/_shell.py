from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, final

import attrs
import trio

from ..errors import InvalidArgument, check_iterable
from ._action import Action, action
from ._errors import ActionNotAllowed

__all__ = ["CommandResult", "shell_actions"]

_LARGEST: Final = 100_000
_SECONDS_TO_DIE: Final = 2.0


@final
@attrs.frozen
class CommandResult:
    """What became of a command.

    Attributes:
        status: its exit status; negative if a signal ended it.
        output: the beginning of what it wrote.
        errors: the beginning of what it wrote to standard error.
        truncated: whether it wrote more.
    """

    status: int
    output: str
    errors: str
    truncated: bool = False


def shell_actions(
    *,
    commands: Iterable[str] = (),
    directory: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = 60.0,
) -> Mapping[str, Action[..., Any]]:
    """Actions for commands: `run_command`. No shell reads the arguments.

    A command is a process group of its own, which is killed when the run is cancelled and when the command has ended.

    Args:
        commands: the commands that may be run, as names or paths; without any, everything is refused.
        directory: where they run.
        environment: their environment variables; `PATH` alone if it is left out, for others may hold secrets.
        timeout: seconds for one attempt.

    Returns:
        The actions by name.

    Raises:
        InvalidArgument: there is no such command, or no such directory; or an argument is of another kind.
    """
    owner = "shell_actions"
    paths: dict[str, str] = {}
    for name in [commands] if isinstance(commands, str) else check_iterable(owner, "commands", commands, "commands"):
        found = shutil.which(name) if isinstance(name, str) else None
        if found is None:
            raise InvalidArgument(owner, "commands", "commands that are there", name)
        paths[name] = os.path.abspath(found)
    if directory is not None and not (isinstance(directory, str | os.PathLike) and os.path.isdir(directory)):
        raise InvalidArgument(owner, "directory", "a directory that is there", directory)
    if environment is not None and not isinstance(environment, Mapping):
        raise InvalidArgument(owner, "environment", "a mapping of texts", environment)
    variables = {"PATH": os.environ.get("PATH", os.defpath)} if environment is None else dict(environment)

    @action(timeout=timeout, tags=("command", "shell"), category="shell")
    async def run_command(command: str, arguments: tuple[str, ...] = (), input: str = "") -> CommandResult:
        """Runs a command and waits for its end.

        Args:
            command: which one.
            arguments: its arguments.
            input: what it reads.
        """
        path = paths.get(command)
        if path is None:
            raise ActionNotAllowed(f"the command {command[:200]!r} is not open to this action")
        process = await trio.lowlevel.open_process(
            [path, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=directory,
            env=variables,
        )
        try:
            return await _watched(process, input.encode())
        finally:
            _kill(process.pid)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _SECONDS_TO_DIE):
                await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + _SECONDS_TO_DIE):
                        await stream.aclose()

    return MappingProxyType({run_command.name: run_command})


async def _watched(process: trio.Process, written: bytes) -> CommandResult:
    kept: dict[str, bytearray] = {"output": bytearray(), "errors": bytearray()}
    truncated = False

    async def keep(name: str, stream: trio.abc.ReceiveStream) -> None:
        nonlocal truncated
        try:
            async for chunk in stream:
                room = _LARGEST - len(kept[name])
                kept[name] += chunk[:room]
                truncated = truncated or len(chunk) > room
        except (trio.BrokenResourceError, OSError):
            pass  # what was read is kept

    async def feed(stream: trio.abc.SendStream) -> None:
        try:
            async with stream:
                await stream.send_all(written)
        except (trio.BrokenResourceError, OSError):
            pass  # it reads no more

    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, "output", process.stdout)
        nursery.start_soon(keep, "errors", process.stderr)
        nursery.start_soon(feed, process.stdin)
        status = await process.wait()
        # What it has left behind holds its pipes open: it goes too, and is not waited for for long.
        _kill(process.pid)
        nursery.cancel_scope.deadline = trio.current_time() + _SECONDS_TO_DIE
    output, errors = (bytes(kept[name]).decode(errors="replace") for name in ("output", "errors"))
    return CommandResult(status, output, errors, truncated)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(group, signal.SIGKILL)
