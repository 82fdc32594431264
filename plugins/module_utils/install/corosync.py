# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module `corosync` does on a node: corosync.conf, the key of the ring, and the daemon that uses both.

A corosync that connects nodes and was not set up by this collection is left alone, and so is its configuration.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from ..base import files, programs
from ..base.changes import Changes, present
from ..base.errors import O2cbError, join_problems
from ..base.systemd import Systemd
from ..o2cb import conf, model
from ..o2cb.model import Cluster, Node
from ..o2cb.timeouts import Timeouts
from ..transport import corosync, group
from ..transport.corosync import AUTHKEY, DROP_IN, PATH, SERVICE

KEY_MODE = 0o400
UNREAD = "/run/ocfs2.o2cb.corosync"
"""There from the writing of a file until corosync has read it: a run that broke off in between is made good."""

STATUS_SECONDS = 10.0
"""corosync-cfgtool asks the daemon, and one that stands still does not answer."""

_ENCODING = "latin-1"
"""Bytes as text, one to one."""


def key_facts(create: bool) -> dict[str, Any]:
    """The mark of this node's key, and, where it is wanted, the key, which is made where there is none."""
    key = _key()
    if not create:
        return {"key_mark": corosync.mark_of(key) if key else ""}
    key = key or secrets.token_bytes(corosync.KEY_BYTES)
    return {"key_mark": corosync.mark_of(key), "key": base64.b64encode(key).decode()}


def plan(options: Mapping[str, Any], systemd: Systemd) -> Changes:
    """Compare and plan. Raises O2cbError when the timeouts do not fit, or corosync here is somebody else's."""
    old = files.read(PATH)
    if options["state"] == "absent":
        return _absent(old, systemd)
    cluster = _cluster(options)
    found = corosync.problems(cluster, options["token"], Timeouts(**options["timeouts"]), options["port"])
    if found:
        raise O2cbError(join_problems(found))
    if old is not None and not corosync.is_ours(old) and not corosync.is_unused(old):
        raise O2cbError(
            f"{PATH} connects nodes and was not written by this collection: set o2cb_agent_corosync_manage to false to "
            "use this corosync as it is, or remove the file"
        )
    result = Changes()
    text = corosync.render(cluster, options["token"], options["port"], options["quorum"])
    if result.write(DROP_IN, corosync.drop_in()):
        result.tell("reload systemd", systemd, "daemon-reload")
    new_key = _write_key(result, options["key"])
    changed = result.write(PATH, text, write=_write)
    result.enable(systemd, [SERVICE])
    if not systemd.active(SERVICE):
        result.add(f"start {SERVICE}", lambda: _make_read(lambda: systemd.tell("start", SERVICE)))
    elif new_key or corosync.needs_restart(old or "", text) or os.path.exists(UNREAD) or _is_another(cluster):
        result.add(f"restart {SERVICE}", lambda: _make_read(lambda: systemd.tell("restart", SERVICE)))
    elif changed:
        result.add("reload corosync", lambda: _make_read(_reload))
    return result


def _write(path: str, text: str, mode: int = 0o644, encoding: str = "utf-8") -> None:
    files.write(UNREAD, "")
    files.write(path, text, mode, encoding)


def _make_read(tell: Callable[[], object]) -> None:
    tell()
    files.remove(UNREAD)


def _cluster(options: Mapping[str, Any]) -> Cluster:
    """That of cluster.conf, and the nodes that will be in it, which only a run in check mode does not find there."""
    coming = Cluster(options["name"], tuple(Node(**node) for node in options["nodes"]))
    present = conf.parse(files.read(conf.PATH) or "").cluster(options["name"])
    cluster = coming.merged_with(present) if present and not options["purge"] else coming
    if not cluster.nodes:
        raise O2cbError(f"{conf.PATH} has no cluster {options['name']!r}: run role ocfs2.o2cb.cluster first")
    return cluster


def _write_key(result: Changes, encoded: str | None) -> bool:
    """Whether the key is a new one."""
    old = _key()
    key = old if encoded is None else _decoded(encoded)
    if not key:
        raise O2cbError(f"{AUTHKEY} is not there: give the option key, which another node returns with create=true")
    if key != old:
        result.add(f"write {AUTHKEY}", lambda: _write(AUTHKEY, key.decode(_ENCODING), KEY_MODE, _ENCODING))
        result.show(AUTHKEY, f"key {corosync.mark_of(old)}\n" if old else "", f"key {corosync.mark_of(key)}\n")
    if old and os.stat(AUTHKEY).st_mode & 0o777 != KEY_MODE:
        result.add(f"set the mode of {AUTHKEY}", lambda: os.chmod(AUTHKEY, KEY_MODE))
    return key != old


def _decoded(encoded: str) -> bytes:
    least, most = corosync.KEY_SIZES
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not least <= len(key) <= most:
        raise O2cbError(f"key is not {least} to {most} bytes in base64: take it from another node, with create=true")
    return key


def _key() -> bytes:
    try:
        with open(AUTHKEY, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _is_another(cluster: Cluster) -> bool:
    """Whether corosync runs here as another node than it is to be: a reload does not tell it its own number."""
    me = model.local_node(cluster.nodes, os.uname().nodename)
    present = corosync.node_id_in(_status())
    return me is not None and present is not None and present != group.node_id(me.number)


def _status() -> str:
    """Nothing where it does not answer: then it has no number that could be wrong."""
    try:
        return programs.run(["corosync-cfgtool", "-s"], STATUS_SECONDS)[1]
    except O2cbError:
        return ""


def _reload() -> None:
    """All nodes of the ring read their file again: the last one to be told finds it written everywhere."""
    code, output, errors = programs.run(["corosync-cfgtool", "-R"], 60.0)
    if code:
        raise O2cbError(f"corosync-cfgtool -R: {(errors or output).strip()}: `journalctl -u corosync` has the reason")


def _absent(old: str | None, systemd: Systemd) -> Changes:
    """Only what this collection has set up."""
    result = Changes()
    if old is None or not corosync.is_ours(old):
        return result
    here = present((PATH, AUTHKEY, DROP_IN, UNREAD))
    if systemd.active(SERVICE) or systemd.enabled(SERVICE):
        result.tell(f"stop and disable {SERVICE}", systemd, "disable", "--now", SERVICE)
    for path in here:
        result.remove(path, with_directory=path == DROP_IN)
    if DROP_IN in here:
        result.tell("reload systemd", systemd, "daemon-reload")
    return result
