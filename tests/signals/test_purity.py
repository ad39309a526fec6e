"""Values and functions only: no event loop is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["prunella.signals", "prunella.conversion"])
def test_a_pure_package_imports_no_trio_and_no_optional_library(package: str) -> None:
    program = f"import {package}, sys; print(sorted({{'trio', 'msgpack', 'httpx'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
