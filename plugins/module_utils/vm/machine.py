# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual machine, as libvirt describes it to a hook, and the names of its locks. Pure."""

from __future__ import annotations

import fnmatch
import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

from ..base.errors import O2cbError

MAX_XML = 8 << 20
"""Bytes. A description has some kilobytes; with many disks and snapshots' metadata some hundred."""

RUN = "vm:"
INCOMING = "vm-in:"
"""Beginnings of the names of a machine's two locks; its UUID follows. `guard` tells what they mean."""

NAMESPACE = "https://github.com/ocfs2/o2cb-ansible/vm"
_PERMIT = "permit"
_OLD_PERMIT = re.compile(rf'\s*<o2cb:permit xmlns:o2cb="{re.escape(NAMESPACE)}"[^<>]*/>')
_TAG = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*/?>""")


@dataclass(frozen=True)
class Machine:
    """A virtual machine. `permit` is the token of the lock under which a migration brings it here, 0 without one."""

    uuid: str
    name: str
    permit: int = 0
    xml: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        return f"virtual machine {self.name!r} ({self.uuid})"

    @property
    def run(self) -> str:
        return RUN + self.uuid

    @property
    def incoming(self) -> str:
        return INCOMING + self.uuid

    def with_permit(self, token: int) -> str:
        """The description with this permit in its metadata and without older ones, all else byte for byte as it is."""
        data = _OLD_PERMIT.sub("", self.xml).encode()
        element = f'<o2cb:{_PERMIT} xmlns:o2cb="{NAMESPACE}" token="{token}"/>'
        domain, metadata = _places(data)
        if metadata is None:
            begin = end = domain.end()
            inserted = f"\n  <metadata>\n    {element}\n  </metadata>"
        elif metadata.group().endswith(b"/>"):
            begin, end = metadata.span()
            inserted = f"<metadata>\n    {element}\n  </metadata>"
        else:
            begin = end = metadata.end()
            inserted = f"\n    {element}"
        return (data[:begin] + inserted.encode() + data[end:]).decode("utf-8", "replace")


def _places(data: bytes) -> tuple[re.Match[bytes], re.Match[bytes] | None]:
    """The tags with which the description and its metadata begin."""
    found: list[int] = []
    path: list[str] = []
    parser = expat.ParserCreate()

    def begin(name: str, _attributes: object) -> None:
        if not path or (path == ["domain"] and name == "metadata"):
            found.append(parser.CurrentByteIndex)
        path.append(name)

    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _name: path.pop()
    parser.Parse(data, True)
    tags = [match for match in (_TAG.match(data, place) for place in found[:2]) if match]
    return tags[0], tags[1] if len(tags) > 1 else None


def parse(data: bytes) -> Machine:
    """The machine of a description as libvirt hands it to a hook. Raises O2cbError for anything else.

    It comes from libvirt, which got it from whoever defined the machine: so its size is limited, and no document type,
    in which entities could be declared, is read.
    """
    if len(data) > MAX_XML:
        raise O2cbError(f"the machine's description has more than {MAX_XML} bytes: it is not libvirt's")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise O2cbError("the machine's description declares a document type, which libvirt's never does")
    try:
        root = ET.fromstring(data)
    except ET.ParseError as error:
        raise O2cbError(f"the machine's description on standard input is no XML: {error}") from None
    if root.tag != "domain":
        raise O2cbError(f"the description on standard input is of a {root.tag!r} and not of a domain")
    found = normal_uuid(root.findtext("uuid") or "")
    if not found:
        raise O2cbError("the machine's description has no UUID, by which it is guarded")
    element = root.find(f"metadata/{{{NAMESPACE}}}{_PERMIT}")
    token = element.get("token", "") if element is not None else ""
    permit = int(token) if re.fullmatch(r"[0-9]{1,20}", token) else 0
    return Machine(found, root.findtext("name") or found, permit, data.decode("utf-8", "replace"))


def normal_uuid(text: str) -> str:
    """A UUID as libvirt writes it, in lower case with dashes; empty for what is none or is all zeros."""
    try:
        found = uuid.UUID(text.strip())
    except ValueError:
        return ""
    return str(found) if found.int else ""


def uuid_of_lock(name: str) -> str:
    """The machine whose lock has this name; empty for other locks."""
    for prefix in (RUN, INCOMING):
        if name.startswith(prefix):
            found = normal_uuid(name[len(prefix) :])
            return found if name == prefix + found else ""
    return ""


def is_unguarded(machine: Machine, patterns: Iterable[str]) -> bool:
    """Whether one of these patterns, names with wildcards of the shell or UUIDs, leaves the machine out."""
    return any(
        normal_uuid(pattern) == machine.uuid or fnmatch.fnmatchcase(machine.name, pattern) for pattern in patterns
    )


def patterns_in(text: str) -> list[str]:
    """The patterns of a file: one a line, lines that begin with # are comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pattern_problem(pattern: str) -> str:
    """Why this cannot be a line of that file, or an empty string."""
    if not pattern.strip() or not pattern.isprintable() or pattern != pattern.strip() or pattern.startswith("#"):
        return f"unguarded has {pattern!r}: give the name of a machine, a pattern such as 'test-*', or a UUID"
    return ""


def of_command_line(words: Sequence[str]) -> Machine | None:
    """The machine that a process with this command line runs: libvirt always gives QEMU its UUID, people may."""
    found, name = "", ""
    for option, value in zip(words, words[1:]):
        if option in ("-uuid", "--uuid"):
            found = normal_uuid(value)
        elif option in ("-name", "--name"):
            parts = [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]
            named = [part[len("guest=") :] for part in parts if part.startswith("guest=")]
            name = named[0] if named else (parts[0] if parts and "=" not in parts[0] else "")
    return Machine(found, name or found) if found else None
