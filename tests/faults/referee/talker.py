# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends and records messages of the bus. Runs on the nodes.

record FILE CHANNEL          write down what comes, for ever, through every end of the agent:
                                 S history position members   a stream begins
                                 M position node id digest    a message
                                 E {...}                      an event
                                 L why                        the stream ends
send FILE CHANNEL SEED COUNT LEAST MOST WINDOW PACE
                             send messages of LEAST to MOST bytes, WINDOW at a time, PACE seconds apart; write down:
                                 A id position                a message is delivered to all
                                 U id                         nobody knows whether it was
An id is the sender's name and a number, and stands at the beginning of the message. Each line ends with " ;", which
one that a power cut has left lacks.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sys
import time

sys.path.insert(0, "/usr/local/lib/ocfs2.o2cb/o2cb.pyz")

from ocfs2_o2cb.base.errors import O2cbError
from ocfs2_o2cb.client import protocol
from ocfs2_o2cb.client.agent import Client
from ocfs2_o2cb.client.protocol import Conversation, Event

AGAIN = 0.1
SOCKET = "/run/o2agent/socket"
SECONDS = 600


class Notes:
    """Lines, after what an earlier program has left."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 -- for as long as the program runs
        self._file.write("\n")

    def add(self, line: str) -> None:
        self._file.write(f"{line} ;\n")


def record(path: str, channel: str) -> None:
    log = Notes(path)
    while True:
        try:
            listening = Client().listen([channel], events=True)
            history = ".".join(map(str, listening.history))
            log.add(f"S {history} {listening.position} {json.dumps(listening.members)}")
            for event in listening:
                facts = event.facts
                if facts["event"] == "message":
                    name = event.data.split(b" ", 1)[0].decode()
                    digest = hashlib.sha256(event.data).hexdigest()[:16]
                    log.add(f"M {facts['position']} {facts['node']} {name} {digest}")
                else:
                    log.add(f"E {json.dumps(facts)}")
        except O2cbError as error:
            log.add(f"L {error}")
            time.sleep(AGAIN)


class Sender:
    """One connection with several messages under way."""

    def __init__(self, log: Notes, channel: str) -> None:
        self.log, self.channel = log, channel
        self.talk: Conversation[str] = Conversation()
        self.sock: socket.socket | None = None

    def connect(self) -> socket.socket:
        while self.sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(SOCKET)
            except OSError:
                sock.close()
                time.sleep(AGAIN)
                continue
            self.sock, self.talk = sock, Conversation()
        return self.sock

    def send(self, name: str, data: bytes) -> None:
        sock = self.connect()
        try:
            sock.sendall(self.talk.ask(protocol.send(self.channel, data, None, SECONDS), name))
        except OSError:
            self.lost()

    def answer(self) -> None:
        """Of the first that is under way."""
        try:
            name, told = self.receive()
        except (OSError, protocol.Broken):
            self.lost()
            return
        if "position" in told.facts:
            self.log.add(f"A {name} {told.facts['position']}")
        else:
            self.log.add(f"U {name} {told.facts['error']}")
            time.sleep(AGAIN)

    def receive(self) -> tuple[str | None, Event]:
        while True:
            come: tuple[str | None, Event] | None = self.talk.next()
            if come is not None:
                return come
            data = self.connect().recv(1 << 20)
            if not data:
                raise ConnectionResetError
            self.talk.receive(data)

    def lost(self) -> None:
        for name in self.talk.end():
            self.log.add(f"U {name} the agent is gone")
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def send(path: str, channel: str, seed: str, count: str, least: str, most: str, window: str, pace: str) -> None:
    dice = random.Random(seed)
    noise = dice.randbytes(int(most) + 1)
    name = f"{os.uname().nodename}-{seed}"
    log = Notes(path)
    sender = Sender(log, channel)
    for number in range(int(count)):
        identity = f"{name}-{number}"
        size = dice.randint(int(least), int(most))
        sender.send(identity, identity.encode() + b" " + noise[:size])
        while len(sender.talk) >= int(window):
            sender.answer()
        if float(pace):
            time.sleep(float(pace))
    while len(sender.talk):
        sender.answer()
    log.add("D")


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(*sys.argv[2:])
    else:
        send(*sys.argv[2:])
