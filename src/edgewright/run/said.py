"""What a child process said, taken for what it should be: a broken one may say anything, and its words reach logs, figures and pages.

Each raises ValueError where it is something else, which is a reason to replace the child and nothing more.
"""

import math
from typing import Any

from edgewright.printable import printable
from edgewright.run.secrets import hide_credentials

LONGEST_TEXT = 1000  # characters
MOST = 1 << 53  # of a number; beyond it they are no longer exact, and no time, size or count of ours


def count_said(value: Any, most: int = MOST) -> int:
    """A whole number, 0..most."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"no number up to {most}")
    return value


def number_said(value: Any) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not -MOST <= value <= MOST or math.isnan(value):
        raise ValueError("no number")
    return float(value)


def text_said(value: Any, longest: int = LONGEST_TEXT) -> str:
    """A text of one line, without credentials."""
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - see above
    return printable(hide_credentials(value), longest)
