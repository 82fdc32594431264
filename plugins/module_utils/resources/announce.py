# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Telling a network that an address has moved here, and asking whether another machine has it.

IPv4: ARP probes and announcements as in RFC 5227. IPv6: unsolicited neighbour advertisements (RFC 4861, 7.2.6); whether
another machine has the address the kernel finds out itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import socket
import struct
from typing import Union

from ..base.errors import O2cbError

PROBES, PROBE_SECONDS = 3, 0.1
"""RFC 5227 probes for some seconds; a fail-over has less. Whoever answers at all answers within milliseconds."""

REPEATS, REPEAT_SECONDS = 2, 0.5
"""An announcement can be lost, and nobody asks for it."""

_ETH_P_ARP = 0x0806
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST = 1
_SIOCGIFHWADDR = 0x8927
_BROADCAST = b"\xff" * 6
_NOTHING = b"\0" * 6

Ip = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


def arp(sender: bytes, sender_ip: bytes, target_ip: bytes) -> bytes:
    """An ARP request to all, with its Ethernet header."""
    header = _BROADCAST + sender + struct.pack("!H", _ETH_P_ARP)
    return header + _ARP.pack(1, 0x0800, 6, 4, _REQUEST, sender, sender_ip, _NOTHING, target_ip)


def answers(frame: bytes, address: bytes, own: bytes) -> str:
    """The hardware address of another machine that says in this frame that it has the address; or nothing."""
    if len(frame) < 14 + _ARP.size or frame[12:14] != struct.pack("!H", _ETH_P_ARP):
        return ""
    sender, sender_ip = _ARP.unpack_from(frame, 14)[5:7]
    return sender.hex(":") if sender_ip == address and sender != own else ""


def advertisement(target: bytes, hardware: bytes) -> bytes:
    """An unsolicited neighbour advertisement that overrides what others have cached. The kernel adds the checksum."""
    override = 0x20000000
    return struct.pack("!BBHI", 136, 0, 0, override) + target + struct.pack("!BB", 2, 1) + hardware


async def refuse_if_answered(device: str, address: Ip, seconds: float) -> None:
    """Raise O2cbError when another machine answers for this IPv4 address."""
    loop = asyncio.get_running_loop()
    with _packets(device) as sock:
        own = _hardware(sock, device)
        for _probe in range(PROBES):
            sock.send(arp(own, b"\0" * 4, address.packed))
            until = loop.time() + min(PROBE_SECONDS, seconds / PROBES)
            while loop.time() < until:
                try:
                    frame = await asyncio.wait_for(loop.sock_recv(sock, 2048), until - loop.time())
                except asyncio.TimeoutError:
                    break
                other = answers(frame, address.packed, own)
                if other:
                    raise O2cbError(
                        f"{address} on {device} is in use by {other}, which is none of ours: find that machine first"
                    )


def gratuitous(device: str, address: Ip) -> None:
    """Tell all on this network that the address is here."""
    if address.version == 4:
        with _packets(device) as sock:
            sock.send(arp(_hardware(sock, device), address.packed, address.packed))
    else:
        _advertise(device, address)


def _packets(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ARP))
    try:
        sock.bind((device, _ETH_P_ARP))
    except OSError as error:
        sock.close()
        raise O2cbError(f"network device {device}: {error.strerror}") from None
    return sock


def _hardware(sock: socket.socket, device: str) -> bytes:
    found = fcntl.ioctl(sock.fileno(), _SIOCGIFHWADDR, struct.pack("256s", device.encode()[:15]))
    return found[18:24]


def _advertise(device: str, address: Ip) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        index = socket.if_nametoindex(device)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        try:
            sock.bind((str(address), 0, 0, index))
            sock.sendto(advertisement(address.packed, _hardware(sock, device)), ("ff02::1", 0, 0, index))
        except OSError as error:
            raise O2cbError(f"announcing {address} on {device}: {error.strerror}") from None
