"""The plugin in sessions of its own: what it sets, what it leaves alone, what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from textwrap import dedent

import pytest

from prunella.testing import plugin

pytest_plugins = ["pytester"]

WITH_RUNTIME = """
    import pytest, trio
    from trio.testing import MockClock

    {mark}
    {kind} test_it(runtime):
        assert isinstance(trio.lowlevel.current_clock(), MockClock)
        assert runtime.count() == 0
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs a test file in a session of its own and gives its output."""
    monkeypatch.delenv("PRUNELLA_STRICT", raising=False)

    def run(tests: str, *options: str, passes: bool = True, ini: str = "") -> str:
        # A session in this process would leave two copies of each module that it was the first to import.
        pytester.makepyfile(test_it=dedent(tests))
        pytester.makeini(f"[pytest]\n{ini}\n")
        finished = pytester.runpytest_subprocess(*options)
        assert (finished.ret == 0) == passes
        return finished.stdout.str()

    return run


def run_python(code: str) -> None:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_pytest_finds_it_by_itself() -> None:
    assert "prunella.testing.plugin" in [point.value for point in entry_points(group="pytest11")]


@pytest.mark.slow
def test_strict_mode_is_on_in_a_session(run) -> None:
    run(
        """
        import os

        def test_strict():
            assert os.environ["PRUNELLA_STRICT"] == "1"
        """
    )


@pytest.mark.parametrize("value", ["0", "", "yes", None])
def test_what_the_user_says_about_strict_mode_holds_and_after_the_session_all_is_as_before(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("PRUNELLA_STRICT", raising=False)
    else:
        monkeypatch.setenv("PRUNELLA_STRICT", value)
    config = pytester.parseconfig()
    plugin.pytest_configure(config)
    assert os.environ["PRUNELLA_STRICT"] == ("1" if value is None else value)
    plugin.pytest_unconfigure(config)
    assert os.environ.get("PRUNELLA_STRICT") == value


def test_where_nobody_uses_it_it_imports_next_to_nothing() -> None:
    run_python(
        "import prunella.testing.plugin, sys; assert 'trio' not in sys.modules; "
        "assert {name for name in sys.modules if name.startswith('prunella')} == "
        "{'prunella', 'prunella.testing', 'prunella.testing.plugin'}"
    )


def test_the_kit_needs_no_pytest_before_its_fixtures_do() -> None:
    run_python(
        "import sys; sys.modules['pytest'] = None; sys.modules['pytest_trio'] = None; import prunella.testing as kit; "
        "[getattr(kit, name) for name in kit.__all__]"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mark", "ini"),
    [("@pytest.mark.trio", ""), ("", "trio_mode = true"), ("@pytest.mark.trio(run=trio.run)", "trio_mode = true")],
)
def test_the_fixtures_are_for_marked_tests_and_for_trio_mode(run, mark: str, ini: str) -> None:
    assert "1 passed" in run(WITH_RUNTIME.format(mark=mark, kind="async def"), ini=ini)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options"), [("def", ()), ("async def", ()), ("async def", ("-p", "no:trio"))])
def test_other_tests_are_told_what_is_missing(run, kind: str, options: tuple[str, ...]) -> None:
    told = run(WITH_RUNTIME.format(mark="", kind=kind), *options, passes=False)
    assert "install prunella[testing], and mark test_it with @pytest.mark.trio" in told


@pytest.mark.slow
def test_a_runner_that_the_user_has_chosen_runs_the_test(run) -> None:
    told = run(
        """
        import pytest, trio
        from trio.testing import MockClock

        def run(*args, **options):
            print("my own runner:", type(options["clock"]).__name__)
            return trio.run(*args, **options)

        @pytest.mark.trio(run=run)
        async def test_it(runtime): ...
        """,
        "-s",
    )
    assert "my own runner: MockClock" in told


@pytest.mark.slow
def test_a_clock_of_the_users_own_takes_the_place_of_the_fixture(run) -> None:
    run(
        """
        import pytest, trio
        from trio.testing import MockClock

        @pytest.fixture
        def clock():
            return MockClock(rate=1000.0)

        @pytest.mark.trio
        async def test_it(runtime):
            assert trio.lowlevel.current_clock().rate == 1000.0
        """
    )


@pytest.mark.slow
def test_a_tree_that_gives_up_fails_the_test(run) -> None:
    told = run(
        """
        import pytest, trio
        from prunella import Agent, on
        from prunella.runtime import AgentSpec
        from prunella.testing import crash

        class Fragile(Agent, name="fragile"):
            @on("go")
            def go(self): ...

        @pytest.fixture
        def runtime_options():
            return {"tree": AgentSpec(Fragile, "f"), "max_restarts": 0}

        @pytest.mark.trio
        async def test_it(runtime):
            await crash(runtime.ref("f"))
            await trio.sleep_forever()
        """,
        passes=False,
    )
    assert "SupervisorFailed" in told
    assert "1 failed" in told
