"""What every test of this suite may ask for."""

from __future__ import annotations

import pytest

from .children import Troupe


@pytest.fixture
def troupe() -> Troupe:
    """Children that do as the test tells them."""
    return Troupe()
