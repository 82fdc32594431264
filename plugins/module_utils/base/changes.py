# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of a node, planned before the first is made: what will be done, in its order, told and shown.

A file is written only where it differs, and a unit enabled only where it is not, so a second run finds nothing to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Callable

from . import files
from .systemd import Systemd

Write = Callable[[str, str, int], None]
"""Writes a text to a path, with this mode where the file is new."""


@dataclass
class Changes:
    """`actions` tells what will be done, `diff` shows it, `apply` does it."""

    actions: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    _steps: list[Callable[[], object]] = field(default_factory=list)

    def add(self, action: str, step: Callable[[], object]) -> None:
        self.actions.append(action)
        self._steps.append(step)

    def show(self, path: str, before: str, after: str) -> None:
        self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})

    def apply(self) -> None:
        for step in self._steps:
            step()

    def write(self, path: str, text: str, mode: int = 0o644, write: Write | None = None) -> bool:
        """Have this text in a file. Whether it was another one.

        A file keeps the mode that it has, but for one that is to be executable, which is made so.
        """
        old = files.read(path)
        if old != text:
            self.add(f"write {path}", lambda: (write or files.write)(path, text, mode))
            self.show(path, old or "", text)
        if mode & 0o111 and old is not None and not os.access(path, os.X_OK):
            self.add(f"make {path} executable", lambda: os.chmod(path, mode))
        return old != text

    def write_all(self, texts: Mapping[str, str]) -> bool:
        """Have these texts in files, by path. Whether any was another one."""
        written = [self.write(path, text) for path, text in texts.items()]
        return any(written)

    def remove(self, path: str, with_directory: bool = False, before: str = "present\n") -> None:
        """Remove a file that is there, and its directory where that is empty then. `before` is shown of it."""
        self.add(f"remove {path}", lambda: (files.remove_with_directory if with_directory else files.remove)(path))
        self.show(path, before, "")

    def tell(self, action: str, systemd: Systemd, *arguments: str) -> None:
        """Run systemctl(1) with these arguments."""
        self.add(action, lambda: systemd.tell(*arguments))

    def enable(self, systemd: Systemd, units: Iterable[str]) -> None:
        for unit in systemd.disabled(tuple(units)):
            self.tell(f"enable {unit}", systemd, "enable", unit)

    def enable_and_start(self, systemd: Systemd, unit: str) -> bool:
        """Whether it ran already."""
        self.enable(systemd, (unit,))
        runs = systemd.active(unit)
        if not runs:
            self.tell(f"start {unit}", systemd, "start", unit)
        return runs


def present(paths: Iterable[str]) -> list[str]:
    """Those of these paths at which there is something, be it a broken link."""
    return [path for path in paths if os.path.lexists(path)]
