# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd, asked and told by systemctl(1), which knows the links of init scripts too."""

from __future__ import annotations

from typing import Sequence

from . import programs
from .errors import O2cbError


class Systemd:
    """The service manager of this machine."""

    def __init__(self, run: programs.Run = programs.run) -> None:
        self._run = run

    def tell(self, *arguments: str) -> None:
        """systemctl with these arguments, the unit the last of them. Raises O2cbError when it fails."""
        code, output, error = self._run(["systemctl", *arguments])
        if code:
            raise O2cbError(
                f"systemctl {' '.join(arguments)} failed: {(error or output).strip()}; "
                f"`journalctl -u {arguments[-1]}` has the reason"
            )

    def active(self, unit: str) -> bool:
        return self._run(["systemctl", "is-active", "--quiet", unit])[0] == 0

    def disabled(self, units: Sequence[str]) -> list[str]:
        """Those of these units that are not enabled. Mostly all are, which one question answers."""
        if self._run(["systemctl", "is-enabled", *units])[1].split() == ["enabled"] * len(units):
            return []
        return [unit for unit in units if not self.enabled(unit)]

    def enabled(self, unit: str) -> bool:
        return self._run(["systemctl", "is-enabled", "--quiet", unit])[0] == 0
