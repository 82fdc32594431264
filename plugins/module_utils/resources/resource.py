# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a resource is: a lock of the cluster, and what the node that holds it runs. Pure.

    {"name": "web", "state": "started", "nodes": {"node1": 100, "node2": 50}, "sticky": true,
     "parts": [{"address": "192.0.2.10/24", "device": "eth0"},
               {"unit": "nginx.service"},
               {"start": ["/usr/bin/app", "start"], "stop": ["/usr/bin/app", "stop"], "check": ["/usr/bin/app", "is"]}]}

Parts start in their order and stop in the reverse, on the same node always: so a resource is a group, too. Times are in
seconds. What is not understood is refused: a misspelt word must not become a default.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Union

from ..base.errors import O2cbError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.(service|target|socket|timer|mount|path|slice|scope)")
DEVICE = re.compile(r"[^/\s]{1,15}")
LONGEST = 86400.0

STARTED, STOPPED = "started", "stopped"
PREFERRED = 1_000_000
"""What a preferred node has more than its priority."""


@dataclass(frozen=True)
class Unit:
    """A unit of systemd. It must not be enabled: the agent starts it."""

    unit: str
    start_timeout: float = 90.0
    stop_timeout: float = 90.0

    def __str__(self) -> str:
        return self.unit


@dataclass(frozen=True)
class Address:
    """An IP address with its prefix, on a network device that is up."""

    address: str
    device: str
    start_timeout: float = 10.0
    stop_timeout: float = 10.0

    def __str__(self) -> str:
        return f"{self.address} on {self.device}"


@dataclass(frozen=True)
class Commands:
    """Programs, each a list of words.

    `check` ends with 0 when it runs, with 3 (LSB) or 7 (OCF) when it surely does not, else nobody knows.
    """

    start: tuple[str, ...]
    stop: tuple[str, ...]
    check: tuple[str, ...]
    start_timeout: float = 90.0
    stop_timeout: float = 90.0
    check_timeout: float = 30.0

    def __str__(self) -> str:
        return " ".join(self.start)


Part = Union[Unit, Address, Commands]


@dataclass(frozen=True)
class Resource:
    """`nodes` has the priority of each node that may run it; none named means all, with priority 0. One may come first.

    After `attempts` failures within `window` seconds the node leaves it to others for `backoff` seconds, and for twice
    as long each time, up to an hour. A sticky one stays where it runs when a node of higher priority comes.
    """

    name: str
    parts: tuple[Part, ...]
    nodes: Mapping[str, int] = field(default_factory=dict)
    prefer: str = ""
    state: str = STARTED
    sticky: bool = True
    check_interval: float = 10.0
    attempts: int = 2
    window: float = 300.0
    backoff: float = 30.0

    @property
    def lock(self) -> str:
        """Whoever holds this node lock runs it."""
        return f"resource:{self.name}"

    @property
    def wish(self) -> str:
        """The process lock of the one node that is to have it next."""
        return f"wish:{self.name}"

    def priority(self, node: str) -> int | None:
        """None for a node that must not run it."""
        found = self.nodes.get(node) if self.nodes else 0
        return found if found is None or node != self.prefer else found + PREFERRED

    def as_values(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def as_definition(self) -> str:
        """The text of its file."""
        return json.dumps(self.as_values(), sort_keys=True, indent=1) + "\n"


_PARTS = {"unit": Unit, "address": Address, "start": Commands}
_TIMES = ("start_timeout", "stop_timeout", "check_timeout", "check_interval", "window", "backoff")


def parse(text: str, where: str) -> Resource:
    """The resource that this JSON defines. Raises O2cbError that names the place and what is wrong there."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise O2cbError(f"{where} is not JSON: {error}") from None
    return from_values(values, where)


def from_values(values: object, where: str) -> Resource:
    """The same from values as JSON has them."""
    table = _table(values, where)
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise O2cbError(f"{where}: name is {name!r}: give up to 64 letters, digits, '.', '_' and '-'")
    place = f"resource {name}"
    parts = table.pop("parts", None)
    if not isinstance(parts, list) or not parts:
        raise O2cbError(f"{place}: parts is missing: give a list of units, addresses or commands")
    table["parts"] = tuple(_part(part, f"{place}, part {number}") for number, part in enumerate(parts, 1))
    _check_types(table, place)
    resource: Resource = _make(Resource, table, place)
    if resource.state not in (STARTED, STOPPED):
        raise O2cbError(f"{place}: state is {resource.state!r}: it is {STARTED} or {STOPPED}")
    if resource.attempts < 1:
        raise O2cbError(f"{place}: attempts is {resource.attempts}: give 1 or more")
    return resource


def _table(values: object, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise O2cbError(f"{where} is {values!r}: a table of options is needed")
    return dict(values)


def _part(values: object, where: str) -> Part:
    table = _table(values, where)
    kinds = [key for key in _PARTS if key in table]
    if len(kinds) != 1:
        raise O2cbError(f"{where}: give one of unit, address, or start with stop and check")
    _check_types(table, where)
    for key in ("start", "stop", "check"):
        if key in table:
            table[key] = _words(table[key], f"{where}: {key}")
    part: Part = _make(_PARTS[kinds[0]], table, where)
    if isinstance(part, Unit) and not UNIT.fullmatch(part.unit):
        raise O2cbError(f"{where}: {part.unit!r} is no name of a unit such as nginx.service")
    if isinstance(part, Address):
        _check_address(part, where)
    return part


def _make(kind: Any, table: dict[str, Any], where: str) -> Any:
    try:
        return kind(**table)
    except TypeError:
        known = set(kind.__dataclass_fields__)
        unknown = sorted(set(table) - known)
        if unknown:
            raise O2cbError(
                f"{where}: there is no option {unknown[0]!r}: known are {', '.join(sorted(known))}"
            ) from None
        needed = [
            name for name in ("unit", "address", "device", "start", "stop", "check") if name in known - set(table)
        ]
        raise O2cbError(f"{where}: {needed[0] if needed else 'an option'} is missing") from None


def _check_types(table: Mapping[str, Any], where: str) -> None:
    for key in _TIMES:
        value = table.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
            raise O2cbError(f"{where}: {key} is {value!r}: give seconds, more than 0 and at most {LONGEST:g}")
    for key, kind in (
        ("sticky", bool),
        ("attempts", int),
        ("unit", str),
        ("address", str),
        ("device", str),
        ("prefer", str),
    ):
        if not isinstance(table.get(key, kind()), kind):
            raise O2cbError(f"{where}: {key} is {table[key]!r}: a value of type {kind.__name__} is needed")
    nodes = table.get("nodes", {})
    if not isinstance(nodes, dict) or not all(map(_is_number, nodes.values())):
        raise O2cbError(f"{where}: nodes is {nodes!r}: give node names with whole numbers, the larger the sooner")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _words(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(word, str) for word in value):
        raise O2cbError(f"{where} is {value!r}: give a list of words, the program first")
    if not str(value[0]).startswith("/"):
        raise O2cbError(f"{where}: {value[0]!r} has no absolute path")
    return tuple(value)


def _check_address(part: Address, where: str) -> None:
    try:
        interface = ipaddress.ip_interface(part.address)
    except ValueError:
        raise O2cbError(f"{where}: {part.address!r} is no address with prefix such as 192.0.2.10/24") from None
    if "/" not in part.address:
        raise O2cbError(f"{where}: {part.address!r} has no prefix: write it as in 192.0.2.10/24")
    if interface.ip.is_multicast or interface.ip.is_unspecified or interface.ip.is_loopback:
        raise O2cbError(f"{where}: {part.address} is no address that can move between nodes")
    if not DEVICE.fullmatch(part.device):
        raise O2cbError(f"{where}: {part.device!r} is no name of a network device")


def problems(resources: Mapping[str, Resource]) -> str:
    """What two resources must not share, in words; nothing when all is well."""
    seen: dict[str, str] = {}
    for name, resource in sorted(resources.items()):
        for part in resource.parts:
            key = part.unit if isinstance(part, Unit) else ""
            if isinstance(part, Address):
                key = str(ipaddress.ip_interface(part.address).ip)
            if key and key in seen:
                return f"{key} is part of {seen[key]} and of {name}: a part belongs to one resource, once"
            if key:
                seen[key] = name
    return ""
