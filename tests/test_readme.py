from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def examples() -> list[str]:
    """The python blocks, on a clock that no busy machine can disturb; as they stand, they are executed elsewhere."""
    found = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [block.replace("trio.run(main)", "trio.run(main, clock=MockClock(autojump_threshold=0))") for block in found]


def test_the_examples_print_what_the_text_promises(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    greeter, counter, durable = examples()
    exec(f"from trio.testing import MockClock\n{greeter}", {})
    assert capsys.readouterr().out == "hello\n" * 3
    exec(f"import trio\nfrom trio.testing import MockClock\n{counter}", {})
    assert capsys.readouterr().out == "Counter(count=2)\n"
    for total in (2, 4):
        # As it stands: a database is at work in a thread.
        durable = durable.replace(", clock=MockClock(autojump_threshold=0)", "")
        exec(f"import trio\nfrom prunella import *\n{durable}", {})
        assert capsys.readouterr().out == f"Counter(count={total})\n"


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (README.parent / target).exists()] == []
