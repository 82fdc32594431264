# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl answer, listen, events, send and ask against an agent's socket: what is run, printed and answered."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.agent import Client
from ansible_collections.ocfs2.o2cb.plugins.module_utils.ctl import answering, commands

ANSWERS = {"position": 9, "answers": [[2, 3]], "down": [], "missing": [], "names": {"2": "node2"}, "length": 3}
BEGUN = {"node": 1, "history": [2, 7], "position": 4, "members": {"1": 7}, "names": {"1": "node1"}, "quorate": True}


class Agent:
    """A socket that gives these questions to who listens, and keeps what is asked of it."""

    def __init__(self, path: str, questions: list[bytes]) -> None:
        self.requests: list[tuple[dict[str, Any], bytes]] = []
        self._questions = questions
        self.end = threading.Event()
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(path)
        self._sock.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=[self._sock.accept()[0]], daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as lines, contextlib.suppress(OSError, ValueError):
            for line in lines:
                request = json.loads(line)
                self.requests.append((request, lines.read(request.get("length", 0))))
                if request["op"] == "listen":
                    self._give(sock)
                    return
                answer = ANSWERS if request["op"] == "ask" else {"position": 9}
                sock.sendall(json.dumps(answer).encode() + b"\n" + (b"yes" if "length" in answer else b""))

    def _give(self, sock: socket.socket) -> None:
        sock.sendall(json.dumps(BEGUN).encode() + b"\n")
        for number, data in enumerate(self._questions):
            facts = {
                "event": "message",
                "channel": "c",
                "node": 2,
                "name": "node2",
                "position": 5 + number,
                "length": len(data),
            }
            sock.sendall(json.dumps({**facts, "head": {"ask": f"q{number}"}}).encode() + b"\n" + data)
            sock.sendall(json.dumps({**facts, "length": 0, "position": 0}).encode() + b"\n")
        self.end.wait(20)

    def answers(self) -> list[tuple[str, bytes]]:
        return [(request["to_question"], data) for request, data in self.requests if request["op"] == "answer"]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[Agent] = []
    path = str(tmp_path / "socket")
    monkeypatch.setattr(Client.__init__, "__defaults__", (path,))

    def make(*questions: bytes) -> Agent:
        made.append(Agent(path, list(questions)))
        return made[-1]

    yield make
    for one in made:
        one.end.set()


def answer(*words: str) -> int:
    return commands.main(["answer", "c", *words])


def test_the_command_gets_the_question_and_its_output_is_the_answer(agent, capfd):
    served = agent(b"one", b"", b"\xff\x00")
    assert answer("--count", "3", "--", "sh", "-c", 'cat; echo "!$O2_CHANNEL $O2_NODE $O2_POSITION"') == 0
    assert served.answers() == [("q0", b"one!c 2 5\n"), ("q1", b"!c 2 6\n"), ("q2", b"\xff\x00!c 2 7\n")]
    assert capfd.readouterr().out.splitlines()[0] == "5  node2: answered with 10 bytes"


def test_large_questions_and_answers_do_not_wait_for_one_another(agent):
    data = bytes(range(256)) * 4096
    served = agent(data)
    assert answer("--count", "1", "--", "cat") == 0
    assert served.answers() == [("q0", data)]


def test_a_command_that_does_not_read_answers_all_the_same(agent):
    served = agent(b"x" * (1 << 20))
    assert answer("--count", "1", "--", "echo", "yes") == 0
    assert served.answers() == [("q0", b"yes\n")]


def test_one_that_fails_gives_no_answer_and_the_next_question_is_answered(agent, capfd):
    served = agent(b"bad", b"good")
    assert answer("--count", "2", "--", "grep", "good") == 0
    assert served.answers() == [("q1", b"good\n")]
    assert capfd.readouterr().err == "o2ctl: 5  node2: no answer: ended with 1\n"


def test_one_that_hangs_is_ended_with_all_it_has_started(agent, capfd, tmp_path):
    served = agent(b"")
    hangs = f"sleep 1000 & echo $! > {tmp_path}/pid; wait"
    assert answer("--count", "1", "--seconds", "0.5", "--", "sh", "-c", hangs) == 0
    assert served.answers() == []
    assert "had not ended after 0.5 s" in capfd.readouterr().err
    child = Path("/proc", (tmp_path / "pid").read_text().strip())
    deadline = time.monotonic() + 10
    while child.exists() and "Z" not in (child / "stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_that_leaves_a_process_behind_answers_at_once(agent):
    served = agent(b"")
    began = time.monotonic()
    assert answer("--count", "1", "--", "sh", "-c", "echo yes; sleep 20 & exit 0") == 0
    assert served.answers() == [("q0", b"yes\n")]
    assert time.monotonic() - began < 10


def test_an_answer_that_is_too_large_is_none(agent, capfd, monkeypatch):
    from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import pieces

    monkeypatch.setattr(pieces, "LARGEST", 1000)
    served = agent(b"")
    assert answer("--count", "1", "--", "yes") == 0
    assert served.answers() == []
    assert "printed more than 1000 bytes" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "report"),
    [
        (["echo", "x"], {"code": 0, "output": "x\n", "error": ""}),
        (["sh", "-c", "echo x; exit 3"], {"code": 3, "output": "x\n", "error": "ended with 3"}),
        (["sh", "-c", "printf '\\377'; kill -9 $$"], {"code": -9, "output": {"base64": "/w=="}, "error": "signal"}),
    ],
)
def test_a_report_is_sent_also_where_the_command_fails(agent, command, report):
    served = agent(b"")
    assert answer("--count", "1", "--report", "--", *command) == 0
    ((_question, data),) = served.answers()
    found = json.loads(data)
    assert report["error"] in found.pop("error")
    assert found == {key: value for key, value in report.items() if key != "error"}


def test_json_tells_each_question(agent, capfd):
    agent(b"")
    assert answer("--count", "1", "--json", "--", "echo", "yes") == 0
    assert json.loads(capfd.readouterr().out) == {"position": 5, "node": 2, "code": 0, "bytes": 4, "error": ""}


def test_there_has_to_be_a_command(tmp_path, capfd):
    plain = tmp_path / "plain"
    plain.touch()
    assert answer() == answering.USAGE
    assert answer("--", "/nonexistent/x") == answering.NOT_FOUND
    assert answer("--", str(plain)) == answering.NOT_RUN
    assert "there is no such program" in capfd.readouterr().err


def test_the_end_of_the_agent_ends_it_with_an_error(agent, capfd):
    served = agent()
    served.end.set()
    assert answer("--", "cat") == 1
    assert "o2agent is gone" in capfd.readouterr().err


def signal_when(condition: Any, *signals: int) -> None:
    def send() -> None:
        deadline = time.monotonic() + 15
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(0.2)

    threading.Thread(target=send, daemon=True).start()


def test_a_signal_ends_it_while_it_waits(agent):
    served = agent()
    signal_when(lambda: served.requests, signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    assert answer("--", "cat") == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_after_a_signal_the_question_at_work_is_answered_and_no_other(agent, tmp_path):
    served = agent(b"one", b"two")
    signal_when((tmp_path / "began").exists, signal.SIGTERM)
    assert answer("--", "sh", "-c", f"touch {tmp_path}/began; sleep 0.5; cat") == 0
    assert served.answers() == [("q0", b"one")]


def test_a_second_signal_does_not_wait(agent, tmp_path, capfd):
    served = agent(b"one")
    signal_when((tmp_path / "began").exists, signal.SIGTERM, signal.SIGTERM)
    began = time.monotonic()
    assert answer("--", "sh", "-c", f"touch {tmp_path}/began; exec sleep 60") == 0
    assert time.monotonic() - began < 15
    assert served.answers() == []
    assert "was ended by a signal" in capfd.readouterr().err


@pytest.mark.parametrize("verb", ["send", "ask"])
def test_nodes_are_named_or_numbered_as_the_agent_knows_them(agent, capfd, verb):
    served = agent()
    assert commands.main([verb, "c", "x", "--to", "node2", "--to", "1"]) == 0
    request = {"op": verb, "channel": "c", "seconds": 30.0, "to": ["node2", "1"], "length": 1}
    assert served.requests == [(request, b"x")]
    assert capfd.readouterr().out == {"send": "delivered to all at position 9\n", "ask": "node2: yes\n"}[verb]


def test_listening_prints_who_says_what(agent, capfd):
    agent(b"one", b"\xff")
    assert commands.main(["listen", "c", "--count", "2"]) == 0
    assert capfd.readouterr().out.splitlines() == ["5  node2  c: one", "0  node2  c: "]


def test_listening_for_programs_has_a_line_for_each_message_and_the_view_first_where_events_are_wanted(agent, capfd):
    served = agent(b"\xff")
    assert commands.main(["listen", "c", "--events", "--json", "--count", "1"]) == 0
    view, message = map(json.loads, capfd.readouterr().out.splitlines())
    begun = {"position": 4, "members": [1], "quorate": True, "names": {"1": "node1"}}
    assert view == {"event": "view", **begun}
    assert (message["name"], message["data"]) == ("node2", {"base64": "/w=="})
    listen = next(request for request, _data in served.requests if request["op"] == "listen")
    assert (listen["channels"], listen["events"]) == (["c"], True)


def test_raw_data_are_written_as_they_are(agent, capfdbinary):
    agent(b"\xff\x00", b"")
    assert commands.main(["listen", "--raw", "--count", "4"]) == 0
    assert capfdbinary.readouterr().out == b"\xff\x00"


def test_events_tell_who_is_there_and_end_where_nobody_wants_to_follow(agent, capfd):
    agent()
    assert commands.main(["events"]) == 0
    assert capfd.readouterr().out == "at position 4: node1 on the bus; this node decides\n"
