# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

r"""cluster.conf(5): read as the o2cb tool reads it, written so that nothing foreign is lost.

Theory of operation. The grammar is that of o2cb_ctl/jconfig.c, the meaning that of o2cb_ctl/o2cb_config.c (ocfs2-tools
1.8.7 to 1.8.9); whatever that tool accepts is accepted here and whatever it rejects is rejected, with the line and the
remedy that it does not give:

* A stanza begins in column 0 with a word and a colon, and ends with an empty line or the next stanza.
* An attribute is indented by blanks or tabs, `word = value`. The value is the rest of the line; a backslash at the end
  of the line continues it. White space at its end is dropped. There are no comments behind a value.
* `#` in column 0 makes a comment line, anywhere.
* A carriage return is accepted at the end of a value only, so a file with CRLF line ends is rejected.

A `Document` keeps every line of the file. Replacing a cluster touches only that cluster's own stanzas: comments,
unknown stanzas, unknown attributes and other clusters stay as they are, which the tool's own writer would drop.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field, replace
from typing import Iterable

from ..base.errors import O2cbError
from .model import GLOBAL, LOCAL, Cluster, Node

PATH = "/etc/ocfs2/cluster.conf"

_STANZA = re.compile(r"([0-9A-Za-z_]+)(.?)(.*)", re.DOTALL)
_ATTRIBUTE = re.compile(r"[ \t]+([0-9A-Za-z_]+)[ \t]*(.?)[ \t]*(.*)", re.DOTALL)
_KNOWN = {
    "cluster": ("name", "heartbeat_mode", "node_count"),
    "node": ("name", "cluster", "number", "ip_address", "ip_port"),
    "heartbeat": ("cluster", "region"),
}
_CHOMPED = " \t\n\f\r"
"""What g_strchomp takes from the end of a value, so `number = 1 ` is 1."""

_INT_MAX = 2**31 - 1
_UINT_MAX = 2**32 - 1
_ULONG_MAX = 2**64 - 1


class ConfError(O2cbError):
    """The o2cb tool rejects this file. `line` is the number of the offending line, from 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(f"{PATH} line {line}: {problem}", line=line)
        self.line = line


@dataclass
class Stanza:
    """One stanza and the lines it was read from; no lines when it is new or changed and has to be rendered."""

    kind: str
    attributes: dict[str, str] = field(default_factory=dict)
    line: int = 0
    lines: list[str] = field(default_factory=list)

    def render(self) -> list[str]:
        """Comment lines are kept, everything else is written as the tool writes it.

        Known attributes first, with a tab.
        """
        known = [key for key in _KNOWN.get(self.kind, ()) if key in self.attributes]
        foreign = [key for key in self.attributes if key not in known]
        return (
            [line for line in self.lines if line.startswith("#")]
            + [f"{self.kind}:"]
            + ["\t{} = {}".format(key, self.attributes[key].replace("\n", "\\\n")) for key in known + foreign]
        )

    def belongs_to(self, cluster: str) -> bool:
        return self.attributes.get("name" if self.kind == "cluster" else "cluster") == cluster


@dataclass
class Document:
    """A whole file: `head` is what stands before the first stanza, each stanza owns the lines up to the next one."""

    head: list[str] = field(default_factory=list)
    stanzas: list[Stanza] = field(default_factory=list)

    def render(self) -> str:
        return "\n".join(self.head + [line for stanza in self.stanzas for line in stanza.lines])

    def of_kind(self, kind: str, cluster: str | None = None) -> list[Stanza]:
        """Stanzas of this kind, in the order of the file; those of one cluster only, when it is named."""
        return [
            stanza for stanza in self.stanzas if stanza.kind == kind and (cluster is None or stanza.belongs_to(cluster))
        ]

    def cluster_names(self) -> list[str]:
        return [stanza.attributes["name"] for stanza in self.of_kind("cluster")]

    def cluster(self, name: str) -> Cluster | None:
        """The cluster of that name as this file has it (timeouts and fence method are not in this file), or None."""
        for stanza in self.of_kind("cluster", name):
            return Cluster(
                name=name,
                nodes=tuple(_node(node) for node in self.of_kind("node", name)),
                regions=tuple(region.attributes["region"] for region in self.of_kind("heartbeat", name)),
                heartbeat_mode=stanza.attributes.get("heartbeat_mode", LOCAL).lower(),
            )
        return None

    def with_cluster(self, cluster: Cluster) -> Document:
        """This document with that cluster exactly as given; every other line stays."""
        wanted = list(_stanzas_of(cluster))
        stanzas: list[Stanza] = []
        for stanza in self.stanzas:
            if stanza.kind not in _KNOWN or not stanza.belongs_to(cluster.name):
                stanzas.append(stanza)
                continue
            new = _take(wanted, stanza)
            if new is not None:
                stanzas.append(_changed(stanza, new))
        for new in wanted:
            new.lines = [*new.render(), ""]
            if stanzas and stanzas[-1].lines[-1]:
                stanzas[-1] = replace(stanzas[-1], lines=[*stanzas[-1].lines, ""])
            stanzas.append(new)
        return Document(list(self.head), stanzas)

    def without_cluster(self, name: str) -> Document:
        """This document without that cluster's stanzas."""
        kept = [stanza for stanza in self.stanzas if stanza.kind not in _KNOWN or not stanza.belongs_to(name)]
        return Document(list(self.head), kept)


def parse(text: str) -> Document:
    """Read a file as the o2cb tool does.

    Raises ConfError for what that tool answers with `Unknown code ____ N`: 251 (EIO) a syntax error, 234 (EINVAL) a
    value; and for a NUL byte, behind which the tool would not see the rest of the file.
    """
    if "\0" in text:
        raise ConfError("there is a NUL byte: the file is damaged, restore it", text.split("\0")[0].count("\n") + 1)
    document = _scan(text)
    _check(document)
    return document


def _scan(text: str) -> Document:
    """The grammar (j_config_parse_base)."""
    document = Document()
    open_stanza: Stanza | None = None
    lines = text.split("\n") if text else []
    number = 0
    while number < len(lines):
        first = number
        line = lines[number]
        number += 1
        if line.startswith("#"):
            pass
        elif not line.strip(" \t"):
            open_stanza = None
        elif line[0] in " \t":
            name, value, number = _attribute(lines, first)
            if open_stanza is None:
                raise ConfError(
                    f"attribute {name!r} belongs to no stanza: an empty line has ended it, remove that line", first + 1
                )
            open_stanza.attributes[name] = value
        else:
            open_stanza = Stanza(_stanza_kind(line, first + 1), line=first + 1)
            if document.stanzas:
                open_stanza.lines = _pop_comments(document.stanzas[-1].lines)
            document.stanzas.append(open_stanza)
        owner = document.stanzas[-1].lines if document.stanzas else document.head
        owner += lines[first:number]
    return document


def _pop_comments(lines: list[str]) -> list[str]:
    """Take away the comment at the end of these lines: it speaks of what follows."""
    start = len(lines)
    while start and lines[start - 1].startswith("#"):
        start -= 1
    comments = lines[start:]
    del lines[start:]
    return comments


def _stanza_kind(line: str, number: int) -> str:
    match = _STANZA.fullmatch(line)
    if match is None:
        raise ConfError(f"{line[0]!r} cannot begin a line: write a stanza as `node:` and indent its attributes", number)
    kind, colon, rest = match.groups()
    if colon != ":":
        raise ConfError(
            f"{kind!r} is neither a stanza nor an attribute: add a colon, or indent the line by a tab", number
        )
    if rest.strip(" \t"):
        raise ConfError(_trailing(f"nothing may follow the colon of {kind!r}", rest), number)
    return kind


def _trailing(rule: str, rest: str) -> str:
    if rest.endswith("\r"):
        return "the line ends in a carriage return: convert it to Unix line ends, as with `sed -i 's/\\r$//'`"
    return f"{rule}: remove {rest.strip()!r}"


def _attribute(lines: list[str], index: int) -> tuple[str, str, int]:
    """Name, value and the index of the line after the attribute, which may run over several lines."""
    match = _ATTRIBUTE.fullmatch(lines[index])
    if match is None:
        text = lines[index].strip(" \t")
        if text.startswith("#"):
            raise ConfError("a comment may only begin in column 0: remove the blanks before the '#'", index + 1)
        if text == "\r":
            raise ConfError(_trailing("", text), index + 1)
        raise ConfError(f"{text[0]!r} cannot begin an attribute: write it as `name = value`", index + 1)
    name, equals, value = match.groups()
    if equals != "=":
        raise ConfError(f"attribute {name!r} has no '=' after its name: write `{name} = value`", index + 1)
    index += 1
    while value.endswith("\\"):
        value = value[:-1]
        if index == len(lines):
            break
        value += "\n" + lines[index]
        index += 1
    return name, value.rstrip(_CHOMPED), index


def _strtoul(text: str) -> int | None:
    """C's strtoul(text, &end, 10) with nothing after the number, as o2cb_config.c checks it.

    None when there is more.
    """
    match = re.fullmatch(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)", text)
    if match is None:
        return None
    value = int(match.group(2))
    if value > _ULONG_MAX:
        return _ULONG_MAX
    return (-value) % (_ULONG_MAX + 1) if match.group(1) == "-" else value


def _check(document: Document) -> None:
    """The meaning (o2cb_config_fill): each cluster, then the nodes and regions that name it."""
    seen: list[str] = []
    for stanza in document.of_kind("cluster"):
        name = stanza.attributes.get("name")
        if name is None:
            raise ConfError("this cluster has no name: add `name = …`", stanza.line)
        if name in seen:
            raise ConfError(f"cluster {name!r} is there twice: remove one", stanza.line)
        seen.append(name)
        mode = stanza.attributes.get("heartbeat_mode", LOCAL)
        if mode.lower() not in (LOCAL, GLOBAL):
            raise ConfError(f"heartbeat_mode is {mode!r}: use global or local", stanza.line)
        _check_nodes(document.of_kind("node", name))
        _number(stanza, "node_count", _UINT_MAX)
        _check_regions(document.of_kind("heartbeat", name))


def _check_nodes(nodes: Iterable[Stanza]) -> None:
    names: list[str] = []
    for stanza in nodes:
        name = stanza.attributes.get("name", "")
        if not name:
            raise ConfError("this node has no name: add `name = …`", stanza.line)
        if name in names:
            raise ConfError(f"node {name!r} is there twice: remove one", stanza.line)
        names.append(name)
        _number(stanza, "number", _INT_MAX - 1)
        address = stanza.attributes.get("ip_address", "")
        try:
            socket.inet_pton(socket.AF_INET, address)
        except (OSError, ValueError):
            raise ConfError(
                f"node {name!r} has ip_address {address!r}: give a dotted IPv4 address, with nothing behind it",
                stanza.line,
            ) from None
        _number(stanza, "ip_port", _UINT_MAX)


def _check_regions(regions: Iterable[Stanza]) -> None:
    seen: list[str] = []
    for stanza in regions:
        region = stanza.attributes.get("region", "")
        if not region:
            raise ConfError("this heartbeat stanza has no region: add `region = UUID`", stanza.line)
        if region in seen:
            raise ConfError(f"heartbeat region {region!r} is there twice: remove one", stanza.line)
        seen.append(region)


def _number(stanza: Stanza, key: str, maximum: int) -> int:
    text = stanza.attributes.get(key, "")
    value = _strtoul(text)
    if value is None:
        raise ConfError(f"{stanza.kind} has {key} {text!r}: give a number, with nothing behind it", stanza.line)
    if value > maximum:
        raise ConfError(f"{stanza.kind} has {key} {text!r}: it is out of range, the largest is {maximum}", stanza.line)
    return value


def _node(stanza: Stanza) -> Node:
    return Node(
        name=stanza.attributes["name"],
        number=_number(stanza, "number", _INT_MAX),
        address=stanza.attributes["ip_address"],
        port=_number(stanza, "ip_port", _UINT_MAX),
    )


def _stanzas_of(cluster: Cluster) -> Iterable[Stanza]:
    """In the order of the tool's own writer: the cluster, its heartbeat regions, its nodes by number."""
    yield Stanza(
        "cluster",
        {
            "name": cluster.name,
            "heartbeat_mode": cluster.heartbeat_mode,
            "node_count": str(len(cluster.nodes)),
        },
    )
    for region in cluster.regions:
        yield Stanza("heartbeat", {"cluster": cluster.name, "region": region})
    for node in cluster.nodes:
        yield Stanza(
            "node",
            {
                "name": node.name,
                "cluster": cluster.name,
                "number": str(node.number),
                "ip_address": node.address,
                "ip_port": str(node.port),
            },
        )


def _take(wanted: list[Stanza], old: Stanza) -> Stanza | None:
    """Remove and return the wanted stanza that describes the same thing as `old`, or None when nothing does."""
    key = {"cluster": "name", "node": "name", "heartbeat": "region"}[old.kind]
    for index, new in enumerate(wanted):
        if new.kind == old.kind and new.attributes[key] == old.attributes.get(key):
            return wanted.pop(index)
    return None


def _changed(old: Stanza, new: Stanza) -> Stanza:
    """`old` with the values of `new`: its foreign attributes stay, and its very lines where nothing differs."""
    if all(old.attributes.get(key) == value for key, value in new.attributes.items()):
        return old
    changed = replace(old, attributes={**old.attributes, **new.attributes})
    return replace(changed, lines=[*changed.render(), ""])
