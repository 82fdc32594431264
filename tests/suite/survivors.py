# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutants that no test can or should kill, each with the reason.

By the name of the module and the change, as bin/test mutants prints it. One that is killed after all, or whose line is
gone, fails the step: a judgement is about the code as it was read.
"""

from __future__ import annotations

_FOR_TYPES = "None where a name or UUID is wanted finds nothing either; the text is there for the type checker."

JUDGED: dict[str, dict[str, str]] = {
    "token": {
        "next_token: before = clocks.own - clocks.others if clocks.others else 0.0 -> "
        "before = clocks.own - clocks.others if clocks.others else 1.0": (
            "It is only compared with 11 s, and shown only beyond them."
        ),
        "next_token: before = clocks.own - clocks.others if clocks.others else 0.0 -> "
        "before = clocks.own - clocks.others if clocks.others else -1.0": (
            "It is only compared with 11 s, and shown only beyond them."
        ),
    },
    "isolation": {
        "wait: own = live.cluster.node(live.local or '') -> own = live.cluster.node(live.local)": _FOR_TYPES,
        "wait: own = live.cluster.node(live.local or '') -> own = live.cluster.node(live.local or 'mutant')": (
            "Any name that no node has will do."
        ),
    },
    "devices": {
        """volume_by_udev: files.read(f"{_UDEV}/b{files.read_line(f'{_SYSFS}/{kernel_name}/dev')}") or '' -> """
        """files.read(f"{_UDEV}/b{files.read_line(f'{_SYSFS}/{kernel_name}/dev')}") or 'mutant'""": (
            "Any text without a line E:ID_FS_TYPE= will do."
        ),
        "find_regions: found[uuid] = usable[0] -> found[uuid] = usable[-1]": "There is exactly one.",
    },
    "regions": {
        "resolve: device = devices.find_regions([uuid or ''])[uuid or ''] -> "
        "device = devices.find_regions([uuid or ''])[uuid or 'mutant']": (
            "Without a UUID find_regions has raised before the index is used."
        ),
        "resolve: device = devices.find_regions([uuid or ''])[uuid or ''] -> "
        "device = devices.find_regions([uuid or ''])[uuid]": (
            "Without a UUID find_regions has raised before the index is used."
        ),
    },
}
