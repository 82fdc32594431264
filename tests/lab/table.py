# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a lab as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from .node import Report

HEAD = ("node", "address", "state", "up", "ssh", "network", "disks", "boots", "last end")


def duration(seconds: float | None) -> str:
    """Seconds as `42s`, `3m07s` or `2h05m`."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def disk_summary(modes: dict[str, str]) -> str:
    """`ok`, or the disks that are not: `hb1 hang`."""
    faults = [f"{name} {mode}" for name, mode in sorted(modes.items()) if mode != "ok"]
    return ", ".join(faults) or ("ok" if modes else "-")


def render(reports: Sequence[Report]) -> str:
    """Columns as wide as they need to be."""
    rows = [HEAD] + [
        (
            report.name,
            report.address,
            report.state,
            duration(report.uptime),
            "answers" if report.ssh else "-",
            report.network,
            disk_summary(report.disks),
            str(report.boots),
            report.last_end or "-",
        )
        for report in reports
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
