"""What is running, for people: a live picture of trees and agents in the terminal, or plain lines where there is none.

Both views are told what happens (`tell`) and shown a `Picture` now and then (`show`). `Live` needs the extra
`prunella[terminal]`, and imports it only when it is made.
"""

from ._lines import Lines
from ._live import Live
from ._picture import AgentFigures, Picture, Row, duration, rows
from ._words import Happening, describe, one_line

__all__ = [
    "AgentFigures",
    "Happening",
    "Lines",
    "Live",
    "Picture",
    "Row",
    "describe",
    "duration",
    "one_line",
    "rows",
]
