"""What stands above `tests` and the documentation: examples are executed, hypothesis keeps no deadline."""

from __future__ import annotations

import os
import signal
import sys
from types import ModuleType
from typing import Any

from hypothesis import settings
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser as MarkdownPythonParser
from sybil.parsers.markdown import SkipParser as MarkdownSkipParser
from sybil.parsers.rest import PythonCodeBlockParser as DocstringPythonParser
from sybil.sybil import SybilCollection

# A shell that starts a command in the background has it ignore Ctrl-C. Python then installs no handler, and Trio
# none of its own, so that tests of interrupts would wait for what cannot come.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy is slow, and that is no fault of the code.
settings.register_profile("full", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)
settings.load_profile(os.environ.get("PRUNELLA_TEST_PROFILE", "full"))


def as_module(namespace: dict[str, Any]) -> None:
    """Makes a page a module: what its examples define can be found by its name, as durable agents need it."""
    page = ModuleType("page")

    def find(name: str) -> Any:
        try:
            return namespace[name]
        except KeyError:
            raise AttributeError(name) from None

    page.__getattr__ = find  # type: ignore[method-assign]  # PEP 562
    sys.modules["page"] = page
    namespace["__name__"] = "page"


# Every python block of a page is executed, each page with a namespace of its own. In docstrings these are the
# blocks that begin with `.. code-block:: python`; what stands behind a plain `::` is an excerpt.
pages = Sybil(
    parsers=[MarkdownPythonParser(), MarkdownSkipParser()],
    patterns=["*.md"],
    excludes=["CHANGELOG.md"],
    setup=as_module,
)
docstrings = Sybil(
    parsers=[DocstringPythonParser()],
    patterns=["src/prunella/*.py", "src/prunella/*/*.py", "src/prunella/*/*/*.py"],
    document_types={".py": PythonDocStringDocument},
)
pytest_collect_file = SybilCollection((pages, docstrings)).pytest()
