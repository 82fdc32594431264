# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small clvmd: the size of a device is changed on all nodes at once, or on none. See docs/cluster-ops.md.

clvmd_like.py format SECTORS | serve | change SECTORS [SECONDS]     (the change itself takes so long, for tests)

suspend on all nodes -> write the new metadata -> refresh (load the new table) on all -> resume on all. What the
metadata on the shared disk say holds; they are written under the lock. Who is left suspended takes it, and reads them.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import socket
import subprocess
import sys
import time

sys.path.insert(0, "/usr/local/lib/ocfs2.o2cb/o2cb.pyz")
from ocfs2_o2cb.api import LCK_EX, LCK_PR, ClusterOps, LeftBus, O2cbError

DISK, NAME, START = "/dev/mapper/data", "shared", 2048
SOCKET, LOCK = "\0clvmd_like", "device"
PHASE_SECONDS, LOCK_SECONDS, BUS_SECONDS = 60.0, 120.0, 600.0


def metadata(new=None):
    """Read them, or write new ones: one block, past the page cache, which is each node's own."""
    block, disk = mmap.mmap(-1, 4096), os.open(DISK, os.O_RDWR | os.O_DIRECT | os.O_SYNC)
    try:
        if new is not None:
            block.write(json.dumps(new).encode())
            os.pwritev(disk, [block], 0)
        os.preadv(disk, [block], 0)
        return json.loads(block[:].rstrip(b"\0"))
    finally:
        os.close(disk)


def dmsetup(*words, table=None):
    done = subprocess.run(["dmsetup", *words], input=table, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise O2cbError(f"dmsetup {words[0]}: {done.stderr.strip()}")


def load():
    """The table as the metadata say. The kernel would look only at resume whether the disk is long enough."""
    size = metadata()["size"]
    with open(DISK, "rb") as disk:
        if START + size > disk.seek(0, os.SEEK_END) // 512:
            raise O2cbError(f"{DISK} is too short for {size} sectors")
    dmsetup("load", NAME, table=f"0 {size} linear {DISK} {START}\n")


class Daemon:
    def __init__(self):
        self.ops = ClusterOps("clvmdlike", self.message, self.node)
        self.suspended_by, self.settling, self.change, self.queue, self.number = None, False, None, [], 0

    def do(self, step, whom):
        """A step on this node: what went wrong."""
        try:
            if step != "suspend":
                load()
            if step != "refresh":
                dmsetup(step, NAME)
        except (O2cbError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            return str(error)
        self.suspended_by = {"suspend": whom, "resume": None}.get(step, self.suspended_by)
        return ""

    def message(self, data, sender):
        told = json.loads(data)
        if "error" not in told:
            told["error"] = self.do(told["do"], sender)
            self.ops.send_message(json.dumps(told).encode(), sender)
        elif self.change and told["number"] == self.change.number:
            self.change.answered(sender, told["error"])

    def node(self, csid, up, why):
        if not up and self.change:
            self.change.gone(csid, why)
        if not up and csid == self.suspended_by:
            self.settle()

    def settle(self):
        """Have the device as the metadata say, when nobody changes them any more."""
        if not self.settling:
            self.settling = True
            self.ops.begin_lock(LOCK, LCK_PR, self.settled, seconds=LOCK_SECONDS)

    def settled(self, lockid, error, _token):
        self.settling = False
        print(f"as the metadata say: {error or self.do('resume', None) or 'resumed'}", flush=True)
        self.settle() if error else self.ops.sync_unlock(LOCK, lockid)

    def run(self):
        server = socket.socket(socket.AF_UNIX)
        server.bind(SOCKET)
        server.listen()
        with contextlib.suppress(O2cbError):
            dmsetup("create", NAME, "--notable")
        self.ops.initialise(BUS_SECONDS)
        self.settle()
        while True:
            timeout = 0.05 if self.change else self.ops.timeout()
            if server in select.select([self.ops.get_main_fd(), server], [], [], timeout)[0]:
                client = server.accept()[0]
                client.settimeout(5)
                self.queue.append((client, json.loads(client.recv(1000))))
            try:
                self.ops.fd_callback()
                if self.change:
                    self.change.tick()
            except LeftBus as error:
                if self.change:
                    self.change.abandon(f"{self.change.doing}: {error}")
                self.ops.initialise(BUS_SECONDS)
                self.settle()
            if self.queue and not self.change:
                self.change = Change(self, *self.queue.pop(0))


class Change:  # on the node that was asked for it
    def __init__(self, daemon, client, wanted):
        self.daemon, self.ops, self.client, self.wanted = daemon, daemon.ops, client, wanted
        self.doing, self.error, self.number, self.nodes, self.waiting, self.lockid = "lock", "", 0, set(), set(), 0
        self.ops.begin_lock(LOCK, LCK_EX, self.locked, seconds=LOCK_SECONDS)

    def locked(self, lockid, error, _token):
        if error:
            return self.finish(str(error))
        self.lockid, self.old, us = lockid, metadata(), self.ops.get_our_csid()
        if self.daemon.change is not self:
            return self.finish("abandoned")
        if self.ops.do_node_callback(lambda csid, up: self.nodes.add(csid) if csid != us else None):
            return self.finish("not every node that is up runs this program")
        return self.step("suspend")

    def step(self, what):
        """On all nodes; their answers come as messages."""
        self.daemon.number += 1
        self.doing, self.number, self.waiting = what, self.daemon.number, set(self.nodes)
        self.deadline = time.monotonic() + PHASE_SECONDS
        self.ops.send_message(json.dumps({"do": what, "number": self.number}).encode())
        self.answered(None, self.daemon.do(what, self.ops.get_our_csid()))

    def answered(self, csid, error):
        self.waiting.discard(csid)
        if error:
            self.fail(f"{self.doing} on {self.ops.name_from_csid(csid or self.ops.get_our_csid())}: {error}")
        elif not self.waiting and self.doing == "suspend":
            self.doing, self.deadline = "change", time.monotonic() + self.wanted.get("seconds", 0)
        elif not self.waiting:
            self.step("resume") if self.doing == "refresh" else self.finish(self.error)

    def tick(self):
        if self.doing == "change" and time.monotonic() > self.deadline:
            metadata({"size": self.wanted["size"], "generation": self.old["generation"] + 1})
            self.step("refresh")
        elif self.doing in ("suspend", "refresh") and time.monotonic() > self.deadline:
            self.fail(f"{self.doing}: no answer of {[self.ops.name_from_csid(csid) for csid in self.waiting]}")

    def gone(self, csid, why):
        if csid in self.nodes:
            self.nodes.discard(csid)
            self.answered(csid, "" if self.doing == "resume" else why)

    def fail(self, why):
        """Roll back: the old metadata hold again, and all resume with them. Past the last step there is no way back."""
        self.error = self.error or why
        if self.doing != "resume":
            metadata(self.old)
            self.step("resume")
        elif not self.waiting:
            self.finish(self.error)

    def abandon(self, why):
        """Out of touch with the others, who wait for this lock and go by what the metadata say."""
        if self.doing not in ("lock", "resume"):
            metadata(self.old)
        self.finish(why)

    def finish(self, error):
        if self.daemon.change is self:
            self.daemon.change = None
        if self.lockid:
            self.ops.sync_unlock(LOCK, self.lockid)
        with contextlib.suppress(OSError), self.client:
            self.client.sendall(json.dumps({"error": error, **metadata()}).encode() + b"\n")


if sys.argv[1] == "format":
    metadata({"size": int(sys.argv[2]), "generation": 0})
elif sys.argv[1] == "serve":
    Daemon().run()
else:
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(SOCKET)
        asked.sendall(json.dumps({"size": int(sys.argv[2]), "seconds": float((sys.argv[3:] or ["0"])[0])}).encode())
        answer = asked.makefile().read()
    print(answer, end="")
    sys.exit(1 if not answer or json.loads(answer)["error"] else 0)
