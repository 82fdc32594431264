# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `cluster_info` found on all hosts, as one page that a person likes to read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Info = Mapping[str, Any]


def page(hosts: Mapping[str, Info]) -> str:
    """The page: a head line, the nodes, the regions, the timeouts, the warnings.

    A host that did not answer is empty.
    """
    answers = {host: info for host, info in hosts.items() if info.get("members") is not None}
    parts = [_head(hosts, answers), _nodes(hosts, answers), _regions(answers), _timeouts(answers), _warnings(answers)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(hosts: Mapping[str, Info], answers: Mapping[str, Info]) -> str:
    names = sorted({str(info["cluster_name"]) for info in answers.values() if info["cluster_name"]})
    online = [host for host, info in answers.items() if info["online"]]
    what = f"Cluster {' and '.join(names)}" if names else "No cluster"
    quorate = [host for host in online if answers[host]["quorate"]]
    words = [what, f"{len(online)} of {len(hosts)} nodes online"]
    if online:
        words.append("quorate" if quorate == online else f"quorate on {', '.join(quorate) or 'no node'}")
    silent = [host for host in hosts if host not in answers]
    if silent:
        words.append(f"no answer from {', '.join(silent)}")
    return ", ".join(words)


def _nodes(hosts: Mapping[str, Info], answers: Mapping[str, Info]) -> str:
    rows: list[tuple[str, ...]] = [
        ("node", "number", "address", "state", "connected to", "regions", "last beat", "domains", "kernel")
    ]
    for host in hosts:
        info = answers.get(host)
        rows.append(_node(host, info) if info else _silent(host, answers))
    return table(rows)


def _node(host: str, info: Info) -> tuple[str, ...]:
    own = next((member for member in info["members"] if member["own"]), None)
    peers = [member["name"] for member in info["members"] if member["connected"] and not member["own"]]
    started = [region for region in info["regions"] if region["started"]]
    return (
        host,
        str(own["number"]) if own else "-",
        str(own["address"]) if own else "-",
        "online" if info["online"] else "offline",
        " ".join(peers) or "-",
        f"{len(started)} of {len(info['regions'])}",
        _seconds(own["last_beat"]) if own else "-",
        " ".join(domain["name"] for domain in info["domains"]) or "-",
        str(info["kernel"]["release"]),
    )


def _silent(host: str, answers: Mapping[str, Info]) -> tuple[str, ...]:
    """A host that did not answer, as the others see it on disk."""
    for info in answers.values():
        for member in info["members"]:
            if member["name"] == host:
                state = {True: "live, no answer", False: "dead or off", None: "no answer"}[member["live"]]
                number, address = str(member["number"]), str(member["address"])
                return (host, number, address, state, "-", "-", _seconds(member["last_beat"]), "-", "-")
    return (host, "-", "-", "no answer", "-", "-", "-", "-", "-")


def _regions(answers: Mapping[str, Info]) -> str:
    rows = [("heartbeat region", "label", "device", "seconds since the last beat of each node")]
    seen: set[str] = set()
    for info in answers.values():
        for region in info["regions"]:
            if region["uuid"] in seen or not region["started"]:
                continue
            seen.add(region["uuid"])
            beats = ", ".join(f"{node} {age:.1f}" for node, age in region["beats"].items())
            rows.append(
                (region["uuid"], region["label"] or "-", region["device"] or "-", region["error"] or beats or "-")
            )
    return table(rows) if len(rows) > 1 else ""


def _timeouts(answers: Mapping[str, Info]) -> str:
    for info in answers.values():
        if info["online"] and info["timeouts"]:
            after = info["timeouts"]["seconds"]
            return (
                f"A node that cannot write its heartbeat resets itself after {after['self_fence']:g} s and is dead to\n"
                f"the others after {after['dead']:g} s; a cut network is decided after {after['network_decision']:g} s."
            )
    return ""


def _warnings(answers: Mapping[str, Info]) -> str:
    """Each warning once, with the hosts that gave it."""
    hosts: dict[str, list[str]] = {}
    for host, info in answers.items():
        for warning in info["problems"]:
            hosts.setdefault(str(warning), []).append(host)
    return "\n".join(f"! {', '.join(names)}: {warning}" for warning, names in hosts.items())


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two blanks between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )
