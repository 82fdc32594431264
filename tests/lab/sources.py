# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's own apt sources, in both of apt's notations, as input for the node image (sources.list(5)).

Only Debian's archives are of use: a source whose suites are those of a Debian release. Nothing here knows a host name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

RELEASES = ("bookworm", "trixie")
POCKETS = ("", "-updates", "-security")
"""Suffixes of the suites that make up a Debian release. Backports and proposed updates are left out on purpose."""


@dataclass(frozen=True)
class Source:
    """One line of apt's sources: where, which suite, which components, signed by whom."""

    uri: str
    suite: str
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = field(default=())

    @property
    def line(self) -> str:
        """The one-line notation."""
        options = " ".join(f"{key}={value}" for key, value in self.options)
        return " ".join(["deb", *([f"[{options}]"] if options else []), self.uri, self.suite, *self.components])


KEPT_OPTIONS = {"signed-by": "signed-by", "trusted": "trusted", "check-valid-until": "check-valid-until"}


def parse_list(text: str) -> list[Source]:
    """Sources of a `sources.list` (one per line); `deb-src` and comments are skipped."""
    sources = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            pairs = (option.split("=", 1) for option in (match[1] or "").split() if "=" in option)
            options = tuple((KEPT_OPTIONS[key.lower()], value) for key, value in pairs if key.lower() in KEPT_OPTIONS)
            sources.append(Source(match[2], match[3], tuple(match[4].split()), options))
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Sources of a `.sources` file (stanzas); disabled stanzas, embedded keys and source packages are skipped."""
    sources = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and key:
                fields[key] += "\n" + line.strip()
            elif ":" in line:
                key, value = line.split(":", 1)
                key = key.strip().lower()
                fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        options = tuple((KEPT_OPTIONS[k], v) for k, v in fields.items() if k in KEPT_OPTIONS and "\n" not in v)
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                sources.append(Source(uri, suite, tuple(fields.get("components", "").split()), options))
    return sources


def read(directory: Path = Path("/etc/apt")) -> list[Source]:
    """Every source that apt would use on this machine."""
    sources = []
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for path in files:
        if path.is_file() and path.suffix == ".list":
            sources += parse_list(path.read_text())
        elif path.is_file() and path.suffix == ".sources":
            sources += parse_deb822(path.read_text())
    return sources


def for_release(sources: Iterable[Source], release: str) -> list[Source]:
    """The same archives, main component, with the suites of `release` in place of whatever release the machine runs.

    Empty when the machine knows no Debian archive: the caller says so.
    """
    wanted: dict[str, Source] = {}
    for source in sources:
        match = re.fullmatch(r"([a-z]+)(-[a-z]+)?", source.suite)
        pocket = (match[2] or "") if match else None
        if pocket not in POCKETS or match is None or match[1] not in RELEASES or "main" not in source.components:
            continue
        renamed = Source(source.uri, release + pocket, ("main",), source.options)
        wanted.setdefault(renamed.line, renamed)
    return list(wanted.values())
