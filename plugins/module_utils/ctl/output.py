# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How o2ctl prints: what it was told, as text for people or as JSON for programs; tables and times."""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

GAP = "  "
NOTHING = "-"


def tell(options: argparse.Namespace, answer: dict[str, Any], text: str) -> int:
    """Print one of the two. The exit code is that of success."""
    sys.stdout.write((json.dumps(answer) if options.json else text) + "\n")
    sys.stdout.flush()
    return 0


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns under their heads. None and an empty text are shown as a dash, and nothing can move the cursor."""
    lines = [tuple(heads), *(tuple(map(cell, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(GAP.join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def cell(value: object) -> str:
    text = NOTHING if value is None else str(value) or NOTHING
    return "".join(character if character.isprintable() else "?" for character in text)


def when(seconds: float | None) -> str | None:
    """A moment in local time, from seconds since the epoch."""
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def in_json(data: bytes) -> Any:
    """Data in JSON: as text where they are UTF-8, else as base64 in a table."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
