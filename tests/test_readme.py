from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_example_says_hello_as_often_as_the_text_promises(capsys: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    # The same on a clock that no busy machine can disturb; as it stands, it is executed with the other pages.
    example = example.replace("trio.run(main)", "trio.run(main, clock=MockClock(autojump_threshold=0))")
    exec(f"from trio.testing import MockClock\n{example}", {})
    assert capsys.readouterr().out == "hello\n" * 3


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (README.parent / target).exists()] == []
