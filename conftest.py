"""What stands above `tests` and the documentation: examples are executed, hypothesis keeps no deadline."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, settings
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
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("full", patient)
settings.register_profile("quick", patient, max_examples=20)
settings.load_profile(os.environ.get("PRUNELLA_TEST_PROFILE", "full"))


_DIRECTORIES = " directories"  # no name that an example could have


def begin_page(namespace: dict[str, Any]) -> None:
    """Makes a page a module, so that durable agents on it are found by their names, in a directory of its own."""
    page = ModuleType("page")

    def find(name: str) -> Any:
        try:
            return namespace[name]
        except KeyError:
            raise AttributeError(name) from None

    page.__getattr__ = find  # type: ignore[method-assign]  # PEP 562
    sys.modules["page"] = page
    namespace["__name__"] = "page"
    namespace[_DIRECTORIES] = os.getcwd(), (own := tempfile.mkdtemp())
    os.chdir(own)


def end_page(namespace: dict[str, Any]) -> None:
    """Leaves nothing of what the examples of a page have written."""
    before, own = namespace[_DIRECTORIES]
    os.chdir(before)
    shutil.rmtree(own)


# Every python block of a page is executed, each page with a namespace of its own. In docstrings these are the
# blocks that begin with `.. code-block:: python`; what stands behind a plain `::` is an excerpt.
pages = Sybil(
    parsers=[MarkdownPythonParser(), MarkdownSkipParser()],
    patterns=["*.md"],
    excludes=["CHANGELOG.md"],
    setup=begin_page,
    teardown=end_page,
)
docstrings = Sybil(
    parsers=[DocstringPythonParser()],
    patterns=["src/prunella/*.py", "src/prunella/*/*.py", "src/prunella/*/*/*.py"],
    document_types={".py": PythonDocStringDocument},
)
pytest_collect_file = SybilCollection((pages, docstrings)).pytest()
