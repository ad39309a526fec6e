"""The actions that are there already: files that stay where they are, HTTP, commands, and small things."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.dispatch.http_server import Answer, HTTPServer

from prunella.actions import (
    ActionError,
    ActionFailed,
    ActionNotAllowed,
    Catalog,
    Failure,
    HTTPResponse,
    Success,
    basic_actions,
    file_actions,
    http_actions,
    run,
    shell_actions,
    try_run,
)
from prunella.actions._confined import Roots
from prunella.errors import InvalidArgument


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "sub").mkdir(parents=True)
    (made / "a.txt").write_text("inside")
    (made / "sub" / "b.txt").write_text("deeper")
    (tmp_path / "secret.txt").write_text("secret")
    (made / "out").symlink_to(tmp_path / "secret.txt")
    (made / "up").symlink_to("..")
    (made / "out_relative").symlink_to("../secret.txt")
    (made / "in").symlink_to("sub/b.txt")
    (made / "in_absolute").symlink_to(made / "sub")
    (made / "loop").symlink_to("loop")
    os.mkfifo(made / "pipe")
    return made


async def of(root: Path, name: str, **params: Any) -> Any:
    return await run(file_actions(roots=[root])[name], params)


async def test_files_inside_are_read_written_listed_and_deleted(root: Path) -> None:
    assert await of(root, "read_file", path="a.txt") == "inside"
    assert await of(root, "read_file", path="sub/../sub/./b.txt") == "deeper"
    assert await of(root, "read_file", path=str(root / "a.txt")) == "inside"
    await of(root, "write_file", path="sub/new.txt", content="né")
    assert (root / "sub" / "new.txt").read_text() == "né"
    await of(root, "write_file", path="a.txt", content="x")
    assert (root / "a.txt").read_text() == "x"
    assert await of(root, "list_directory", path="sub") == ["b.txt", "new.txt"]
    assert "sub" in await of(root, "list_directory")
    await of(root, "delete_file", path="sub/new.txt")
    assert not (root / "sub" / "new.txt").exists()


async def test_links_that_stay_inside_are_followed(root: Path) -> None:
    assert await of(root, "read_file", path="in") == "deeper"
    assert await of(root, "read_file", path="in_absolute/b.txt") == "deeper"
    assert await of(root, "list_directory", path="in_absolute") == ["b.txt"]


@pytest.mark.parametrize("name", ["read_file", "write_file", "delete_file", "list_directory"])
@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "sub/../../secret.txt",
        "out",
        "out_relative",
        "up/secret.txt",
        "up",
        "loop",
        "/etc/passwd",
        "/",
        "..",
        "a\0b",
        "sub/../up/root/../secret.txt",
    ],
)
async def test_no_path_leads_out(root: Path, name: str, path: str) -> None:
    params = {"path": path, "content": "x"} if name == "write_file" else {"path": path}
    with pytest.raises(ActionNotAllowed):
        await of(root, name, **params)
    assert (root.parent / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize("name", ["read_file", "write_file", "delete_file"])
async def test_pipes_and_devices_are_left_alone(root: Path, name: str) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(root / "s"))
    with listening:
        for path in ("pipe", "s"):
            params = {"path": path, "content": "x"} if name == "write_file" else {"path": path}
            with trio.fail_after(5), pytest.raises(ActionNotAllowed, match="no regular file"):
                await of(root, name, **params)
    with pytest.raises(ActionNotAllowed):
        await run(file_actions(roots=["/dev"])[name], {"path": "null", **({"content": ""} if "write" in name else {})})


async def test_a_link_is_not_deleted_through(root: Path) -> None:
    with pytest.raises(ActionNotAllowed):
        await of(root, "delete_file", path="in")
    assert (root / "sub" / "b.txt").exists()


async def test_what_is_not_there_is_an_error_with_its_cause(root: Path) -> None:
    for path in ("missing", "missing/too", "a.txt/x"):
        with pytest.raises(ActionFailed) as caught:
            await of(root, "read_file", path=path)
        assert isinstance(caught.value.__cause__, OSError)
        assert not caught.value.retryable
    with pytest.raises(ActionFailed, match="directory"):
        await of(root, "read_file", path="sub")


async def test_without_roots_everything_is_refused(root: Path) -> None:
    for name, made in file_actions().items():
        params = {"path": str(root / "a.txt")} | ({"content": ""} if name == "write_file" else {})
        with pytest.raises(ActionNotAllowed):
            await run(made, params)


async def test_sizes_are_limited(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunella.actions._files._LARGEST", 3)
    monkeypatch.setattr("prunella.actions._files._MOST_NAMES", 2)
    for name, params in (
        ("read_file", {"path": "a.txt"}),
        ("write_file", {"path": "a.txt", "content": "long"}),
        ("list_directory", {}),
    ):
        with pytest.raises(ActionError):
            await of(root, name, **params)


def test_roots_are_checked_at_once(root: Path) -> None:
    with pytest.raises(InvalidArgument, match="roots"):
        file_actions(roots=[root / "missing"])


def test_no_race_with_a_link_leads_out(root: Path) -> None:
    """Somebody swaps a directory for a link to the outside, again and again."""
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "b.txt").write_text("secret")
    (root / "link").symlink_to(root.parent / "outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "sub", root / "kept")
            os.rename(root / "link", root / "sub")
            os.rename(root / "sub", root / "link")
            os.rename(root / "kept", root / "sub")

    swapping = threading.Thread(target=swap)
    swapping.start()
    read = file_actions(roots=[root])["read_file"]
    seen = set()
    try:
        for _ in range(2_000):
            try:
                seen.add(read(path="sub/b.txt"))
            except (OSError, ActionNotAllowed):
                seen.add(None)
    finally:
        stop.set()
        swapping.join()
    assert seen <= {"deeper", None}


@given(st.lists(st.sampled_from(["..", ".", "", "sub", "up", "out", "in_absolute", "b.txt", "loop"]), max_size=8))
def test_whatever_a_path_is_made_of_it_stays_inside(parts: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory, "root")
        (made / "sub").mkdir(parents=True)
        (made / "sub" / "b.txt").write_text("inside")
        Path(directory, "b.txt").write_text("secret")
        (made / "up").symlink_to("..")
        (made / "out").symlink_to(directory)
        (made / "in_absolute").symlink_to(os.path.realpath(made / "sub"))
        (made / "loop").symlink_to("loop")
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        try:
            with Roots((made,)).located("/".join(parts)) as (handle, name):
                found = os.path.realpath(f"/proc/self/fd/{handle}") if sys.platform == "linux" else str(made)
                assert found.startswith(os.path.realpath(made))
                assert name not in ("..", "")
        except (ActionNotAllowed, OSError):
            pass
        if sys.platform == "linux":
            assert len(os.listdir("/proc/self/fd")) == before


# HTTP


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Callable[..., Any]:
    async def start(*answers: Answer) -> HTTPServer:
        server = HTTPServer(*answers)
        await nursery.start(server.run)
        return server

    return start


async def asked(server: HTTPServer, **params: Any) -> Success[Any] | Failure:
    return await try_run(http_actions(hosts=["127.0.0.1"])["http_request"], {"url": server.url, **params})


async def test_a_server_is_asked(serve: Callable[..., Any]) -> None:
    pytest.importorskip("httpx")
    server = await serve(Answer(headers={"x-a": "1"}, body=b"hello"))
    outcome = await asked(server, method="POST", body="data", headers={"x-b": "2"})
    assert isinstance(outcome, Success)
    assert isinstance(outcome.value, HTTPResponse)
    assert (outcome.value.status, outcome.value.body, outcome.value.headers["x-a"]) == (200, "hello", "1")
    [request] = server.requests
    assert (request.method, request.body, request.headers["x-b"]) == ("POST", b"data", "2")


@pytest.mark.parametrize(("status", "retryable"), [(301, False), (404, False), (429, True), (500, True)])
async def test_the_status_is_looked_at(serve: Callable[..., Any], status: int, retryable: bool) -> None:
    pytest.importorskip("httpx")
    outcome = await asked(await serve(Answer(status, body=b"no")))
    assert isinstance(outcome, Failure)
    assert outcome.error.details["status"] == status
    assert outcome.error.retryable is retryable


async def test_a_body_that_is_too_long_and_a_connection_that_breaks(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx")
    monkeypatch.setattr("prunella.actions._http._LARGEST", 3)
    outcome = await asked(await serve(Answer(body=b"long")))
    assert isinstance(outcome, Failure)
    assert "more than 3 bytes" in str(outcome.error)
    outcome = await asked(await serve(Answer(ending="nothing")))
    assert isinstance(outcome, Failure)
    assert outcome.error.retryable


@pytest.mark.parametrize(
    "url", ["http://other.example/", "file:///etc/passwd", "ftp://127.0.0.1/", "x", "http://[", ""]
)
async def test_other_hosts_are_refused(url: str) -> None:
    pytest.importorskip("httpx")
    with pytest.raises(ActionError) as caught:
        await run(http_actions(hosts=["127.0.0.1"])["http_request"], {"url": url})
    assert type(caught.value) in (ActionNotAllowed, ActionError)
    with pytest.raises(ActionError):
        await run(http_actions()["http_request"], {"url": "http://127.0.0.1/"})


# Commands


async def command(*arguments: str, **params: Any) -> Any:
    made = shell_actions(commands=["sh"])["run_command"]
    return await run(made, {"command": "sh", "arguments": ["-c", *arguments], **params})


async def test_a_command_is_run() -> None:
    result = await command('cat; echo "$1" >&2; exit 3', "sh", "a; b", input="in")
    assert (result.status, result.output, result.errors, result.truncated) == (3, "in", "a; b\n", False)


async def test_its_environment_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    assert "hunter2" not in (await command("env")).output


async def test_its_output_is_limited() -> None:
    result = await command("yes | head -c 300000")
    assert len(result.output) == 100_000
    assert result.truncated


async def test_other_commands_are_refused() -> None:
    made = shell_actions(commands=["sh"])["run_command"]
    for name in ("cat", "/bin/sh", "sh -c x", ""):
        with pytest.raises(ActionNotAllowed):
            await run(made, {"command": name})
    with pytest.raises(ActionNotAllowed):
        await run(shell_actions()["run_command"], {"command": "sh"})
    with pytest.raises(InvalidArgument, match="commands"):
        shell_actions(commands=["no-such-command-here"])
    with pytest.raises(InvalidArgument, match="directory"):
        shell_actions(directory="/no/such/directory")


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{process}/stat").exists() or " Z " not in Path(f"/proc/{process}/stat").read_text()


async def gone(path: Path) -> None:
    processes = [int(word) for word in path.read_text().split()]  # noqa: ASYNC240
    with trio.fail_after(5):
        while any(is_alive(process) for process in processes):  # noqa: ASYNC110 - a process tells nobody
            await trio.sleep(0.01)


async def test_a_cancelled_command_is_killed_with_all_that_it_began(tmp_path: Path) -> None:
    path = tmp_path / "pids"

    async def cancel_when_it_runs(scope: trio.CancelScope) -> None:
        while not path.exists() or len(path.read_text().split()) < 2:  # noqa: ASYNC110 - a process tells nobody
            await trio.sleep(0.01)
        scope.cancel()

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_it_runs, scope)
            await command(f"sleep 60 & echo $! $$ > {path}; wait")
    assert scope.cancelled_caught
    await gone(path)


async def test_nothing_is_left_of_commands_that_are_cancelled_at_any_point() -> None:
    await command("true")
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for number in range(20):
        with trio.move_on_after(number * 0.001):
            await command("yes | head -c 200000; sleep 9", input="x" * 100_000)
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == before


async def test_what_a_command_leaves_behind_is_killed_too(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    begun = trio.current_time()
    result = await command(f"sleep 60 & echo $! > {path}; echo done")
    assert trio.current_time() - begun < 1.9
    assert result.output == "done\n"
    await gone(path)


# Small things


async def small(name: str, **params: Any) -> Any:
    return await run(basic_actions()[name], params)


async def test_arithmetic() -> None:
    assert await small("add", a=1, b=2) == 3
    assert await small("subtract", a=1.5, b=2) == -0.5
    assert await small("multiply", a=3, b=4) == 12
    assert await small("divide", a=1, b=4) == 0.25
    with pytest.raises(ActionError, match="zero"):
        await small("divide", a=1, b=0)
    with pytest.raises(ActionError):
        await small("multiply", a=1e308, b=10.0)


async def test_dates() -> None:
    assert await small("add_days", day="2026-01-31", days=1) == date(2026, 2, 1)
    assert await small("days_between", start="2026-01-01", end="2026-03-01") == 59
    assert abs(await small("current_time", timezone="Europe/Oslo") - datetime.now(UTC)).total_seconds() < 10
    for name, params in (("add_days", {"day": "2026-01-31", "days": 10**9}), ("current_time", {"timezone": "../etc"})):
        with pytest.raises(ActionError):
            await small(name, **params)


async def test_sleep_and_log(autojump_clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    begun = trio.current_time()
    await small("sleep", seconds=3)
    assert trio.current_time() - begun == pytest.approx(3)
    with caplog.at_level("INFO"):
        await small("log", message="one\ntwo")
    assert "one\\ntwo" in caplog.text


def test_all_of_them_are_tools(root: Path) -> None:
    catalog = Catalog([*basic_actions().values(), *file_actions(roots=[root]).values()])
    catalog = catalog.merge(Catalog([*http_actions().values(), *shell_actions().values()]))
    assert all(tool["description"] for tool in catalog.tools())
    assert [hit.entry.name for hit in catalog.search("read file", limit=1)] == ["read_file"]
