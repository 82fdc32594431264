# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The live cluster in configfs: read, and changed one kernel object at a time
(fs/ocfs2/cluster/{nodemanager,heartbeat}.c).

Why not the o2cb tool: `o2cb start-heartbeat` stops every region when one is missing, says "OK" when the host name
matches no node, and its init script ignores each failed write. Here every write is one write(2), whose errno is not
lost in a buffer, and is read back, since the kernel silently ignores the dead threshold and the mode while a region
exists.

A region whose start was broken off, by a signal to the process that waits for it or because it did not become steady,
must never be removed: its thread has ended by itself, o2hb_heartbeat_group_drop_item() stops that thread again, and the
kernel panics (seen on 6.1). So whoever starts a region is deaf to signals and is not killed at a deadline, and what was
broken off all the same is left alone until the node is rebooted. Such a region has a thread (`pid`) and no `dev`.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import Sequence

from ..base import files
from ..base.deadline import Call, call_all
from ..base.errors import O2cbError
from .devices import Device
from .model import Cluster, Node
from .state import LiveRegion
from .timeouts import BEAT_INTERVAL, Timeouts

ROOT = "/sys/kernel/config/cluster"

_WORDS = {
    errno.EBUSY: "it is in use: a domain is joined, a file system is mounted, or a peer is connected to it",
    errno.EEXIST: "another node has this number or this address",
    errno.ENOSPC: "the kernel holds another cluster, and only one at a time: take that one offline first",
    errno.ERANGE: "the value is out of range",
    errno.EINVAL: "the kernel refuses the value, or it cannot change while regions beat or peers are connected",
    errno.EFBIG: "there are 32 regions already, the kernel takes no more",
    errno.EIO: "the heartbeat did not become steady: the device does not accept writes in time",
    errno.ENAMETOOLONG: "the name is longer than 64 characters",
    errno.EACCES: "this needs root",
    errno.EPERM: "this needs root",
    errno.EINTR: "it was interrupted",
}


def explain(error: OSError, doing: str) -> O2cbError:
    """An error of the kernel in words, its errno kept."""
    name = errno.errorcode.get(error.errno or 0, "error")
    words = _WORDS.get(error.errno or 0, os.strerror(error.errno or 0))
    return O2cbError(f"{name} {doing}: {words}", errno=error.errno)


class ConfigFs:
    """The tree below /sys/kernel/config/cluster. All methods that change something raise O2cbError with the errno."""

    def __init__(self, root: str = ROOT) -> None:
        self.root = root

    # reading

    def names(self) -> list[str]:
        return files.names(self.root)

    def cluster(self, name: str, regions: Sequence[LiveRegion]) -> Cluster:
        """The registered cluster, given what `regions` tells; its own `regions` are those that beat."""
        top = f"{self.root}/{name}"
        return Cluster(
            name=name,
            nodes=tuple(self._node(f"{top}/node/{node}", node) for node in files.names(f"{top}/node")),
            regions=tuple(region.uuid for region in regions if region.started),
            heartbeat_mode=files.read_line(f"{top}/heartbeat/mode"),
            timeouts=Timeouts(
                _number(f"{top}/heartbeat/dead_threshold"),
                _number(f"{top}/idle_timeout_ms"),
                _number(f"{top}/keepalive_delay_ms"),
                _number(f"{top}/reconnect_delay_ms"),
            ),
            fence_method=files.read_line(f"{top}/fence_method"),
        )

    @staticmethod
    def _node(path: str, name: str) -> Node:
        return Node(
            name=name,
            number=_number(f"{path}/num"),
            address=files.read_line(f"{path}/ipv4_address"),
            port=_number(f"{path}/ipv4_port"),
        )

    def local(self, name: str) -> str | None:
        """The node that the kernel takes for this machine."""
        for node in files.names(f"{self.root}/{name}/node"):
            if files.read_line(f"{self.root}/{name}/node/{node}/local") == "1":
                return node
        return None

    def regions(self, name: str) -> list[LiveRegion]:
        top = f"{self.root}/{name}/heartbeat"
        return [
            LiveRegion(
                uuid=uuid,
                device=files.read_line(f"{top}/{uuid}/dev"),
                block_bytes=_number(f"{top}/{uuid}/block_bytes"),
                start_block=_number(f"{top}/{uuid}/start_block"),
                blocks=_number(f"{top}/{uuid}/blocks"),
            )
            for uuid in files.names(top)
            if os.path.isdir(f"{top}/{uuid}")
        ]

    # changing

    def register(self, name: str) -> None:
        self._mkdir(f"{self.root}/{name}", f"registering cluster {name}")

    def unregister(self, name: str) -> None:
        self._rmdir(f"{self.root}/{name}", f"unregistering cluster {name}")

    def set(self, name: str, attribute: str, value: str) -> None:
        """Set an attribute of the cluster, such as idle_timeout_ms or heartbeat/mode."""
        self._write(f"{self.root}/{name}/{attribute}", value, f"setting {attribute} to {value}")

    def add_node(self, name: str, node: Node) -> None:
        """Port and address come first: the kernel takes the number only after them."""
        path = f"{self.root}/{name}/node/{node.name}"
        doing = f"adding node {node}"
        self._mkdir(path, doing)
        try:
            self._write(f"{path}/ipv4_port", str(node.port), doing)
            self._write(f"{path}/ipv4_address", node.address, doing)
            self._write(f"{path}/num", str(node.number), doing)
        except O2cbError:
            self._rmdir(path, f"taking back node {node}")
            raise

    def claim_node(self, name: str, node: str) -> None:
        """Tell the kernel that this machine is that node; it starts to listen for its peers."""
        self._write(f"{self.root}/{name}/node/{node}/local", "1", f"becoming node {node}")

    def remove_node(self, name: str, node: str) -> None:
        self._rmdir(f"{self.root}/{name}/node/{node}", f"removing node {node}")

    def stop_region(self, name: str, uuid: str) -> None:
        path = f"{self.root}/{name}/heartbeat/{uuid}"
        if _broken_off(path):
            raise O2cbError(
                f"the start of heartbeat region {uuid} was broken off, and the kernel panics when it is removed: "
                "reboot this node"
            )
        self._rmdir(path, f"stopping heartbeat region {uuid}")

    def start_regions(self, name: str, located: Sequence[tuple[Device, LiveRegion]]) -> None:
        """Start the region on each of these devices, and wait until they are steady.

        The first region of a node takes twice the beats of the others, for that is how the kernel waits for the beats
        of its peers; so it is started alone, and the others after it at the same time.
        """
        alone = 0 if any(region.started for region in self.regions(name)) else 1
        for batch in (located[:alone], located[alone:]):
            self._start(f"{self.root}/{name}/heartbeat", batch)

    def _start(self, top: str, located: Sequence[tuple[Device, LiveRegion]]) -> None:
        threshold = _number(f"{top}/dead_threshold")
        doing = [f"starting heartbeat region {region.uuid} on {device.path}" for device, region in located]
        made: list[str] = []
        try:
            for (_device, region), what in zip(located, doing):
                self._mkdir(f"{top}/{region.uuid}", what)
                made.append(region.uuid)
                for attribute in ("block_bytes", "start_block", "blocks"):
                    self._write(f"{top}/{region.uuid}/{attribute}", str(getattr(region, attribute)), what)
            call_all(
                [_starter(f"{top}/{region.uuid}/dev", device.path) for device, region in located],
                seconds=(threshold + 20) * BEAT_INTERVAL,
                what=doing,
            )
            for uuid in made:
                if not files.read_line(f"{top}/{uuid}/dev"):
                    raise O2cbError(
                        f"heartbeat region {uuid} was started and does not beat: the kernel's log has the reason"
                    )
        except OSError as error:
            self._take_back(top, made)
            raise explain(error, "; ".join(doing)) from None
        except O2cbError:
            self._take_back(top, made)
            raise

    def _take_back(self, top: str, uuids: Sequence[str]) -> None:
        for uuid in uuids:
            if not files.read_line(f"{top}/{uuid}/dev") and not _broken_off(f"{top}/{uuid}"):
                self._rmdir(f"{top}/{uuid}", f"taking back heartbeat region {uuid}")

    @staticmethod
    def _mkdir(path: str, doing: str) -> None:
        try:
            os.mkdir(path)
        except OSError as error:
            raise explain(error, doing) from None

    @staticmethod
    def _rmdir(path: str, doing: str) -> None:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise explain(error, doing) from None

    @staticmethod
    def _write(path: str, value: str, doing: str) -> None:
        """One write, with the newline that fence_method asks for, and a look at what the kernel made of it."""
        try:
            write_attribute(path, value)
        except OSError as error:
            raise explain(error, doing) from None
        now = files.read_line(path)
        if now != value:
            raise O2cbError(
                f"{doing}: the kernel ignored it and the value is still {now}; it cannot change while a region exists"
            )


def write_attribute(path: str, value: str) -> None:
    """One write(2) to a kernel attribute. A buffered write would hide EINVAL until the file is closed, or for good."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"{value}\n".encode())
    finally:
        os.close(descriptor)


def _broken_off(region: str) -> bool:
    return bool(files.read_line(f"{region}/pid")) and not files.read_line(f"{region}/dev")


def _starter(attribute: str, path: str) -> Call:
    """A function that hands the open device to the kernel and sleeps there until the region is steady."""

    def start() -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            write_attribute(attribute, str(device))
        finally:
            os.close(device)

    return start


def _number(path: str) -> int:
    text = files.read_line(path)
    try:
        return int(text, 0)
    except ValueError:
        return 0
