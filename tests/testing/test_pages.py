"""The how-to page about the kit: its tests are run as its readers would run them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "howto" / "test-with-the-kit.md"


@pytest.mark.slow
def test_the_tests_on_the_page_pass(pytester: pytest.Pytester) -> None:
    text = PAGE.read_text(encoding="utf-8")
    [toml] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    # The override of a fixture is about what follows it: it is the beginning of a second file of tests.
    [override] = [number for number, block in enumerate(blocks) if "\ndef runtime_options" in block]
    agent, *_ = blocks
    pytester.makefile(".toml", pyproject=toml)
    pytester.makepyfile(test_one="\n".join(blocks[:override]), test_two="\n".join([agent, *blocks[override:]]))
    pytester.runpytest_subprocess().assert_outcomes(passed=text.count("def test_"))
