"""Text from files made safe to print: control characters and marks that change the direction of text are escaped.

A name in a table can hold the codes that move a terminal's cursor, or marks that show ``a_b`` as ``b_a``. What is
printed or shown in a report goes through this module; what is written to tables keeps its characters.
"""

from __future__ import annotations

import json
import re

#: Control characters but for tab and line feed; marks of direction; separators of lines; tags; half surrogates, by
#: which Python holds the bytes of names that are not UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

#: Longest message; identifiers can be longer.
_LONGEST = 4000


def escaped(text: str) -> str:
    r"""Write unsafe characters as JSON does.

    Examples
    --------
    >>> escaped("sub-\x1b[2J01")
    'sub-\\u001b[2J01'
    """
    return _UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def printable(text: object) -> str:
    """Escape a message, and leave out the middle of one that is longer than a page."""
    shown = escaped(str(text))
    if len(shown) <= _LONGEST:
        return shown
    return f"{shown[: _LONGEST - 500]} [... {len(shown) - _LONGEST} characters left out ...] {shown[-500:]}"
