# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pack the library into one reproducible zipapp, the program that runs on the nodes.

The same sources give the same bytes: names are sorted, dates are those of the zip format's beginning. So a copy that
did not change is seen to be unchanged.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

LIBRARY = Path(__file__).parent.parent / "module_utils"
"""Every package in it becomes a part of the program's own package, whose imports are relative."""

PACKAGE = "ocfs2_o2cb"
PARTS = {".py", ".8", ".bash"}
"""Endings of what goes into the program: its modules, and the manual page and completion that it is installed with."""

_MAIN = f"""import sys

from {PACKAGE}.program import main

sys.exit(main(sys.argv[1:]))
"""


def sources() -> dict[str, bytes]:
    """The program's files by their names in the archive. zipimport needs an __init__.py in every package."""
    found = {"__main__.py": _MAIN.encode()}
    for path in LIBRARY.rglob("*.*"):
        if path.suffix in PARTS:
            found[f"{PACKAGE}/{path.relative_to(LIBRARY).as_posix()}"] = path.read_bytes()
    return found


def pack() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(sources().items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()
