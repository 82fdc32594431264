# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl: what a person does with the cluster from a shell on a node."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from ..base.errors import O2cbError
from ..client.keep import Client, holder, refusal
from ..locks import modes, names
from ..locks.token import SECOND
from . import messages, resources, vm
from .output import table, tell, when

BUSY = 75
"""Exit code when a lock could not be had, EX_TEMPFAIL of sysexits.h."""

USAGE = 64
FAILED = 1
NOT_RUN = 126
NOT_FOUND = 127

MOST_SLOTS = 1000
SLOT_SECONDS = 1.0
"""Seconds for which one of several locks is waited for before the next is tried."""

_IN_SCOPE = "O2CTL_SCOPE"
"""Set by this program for itself: the process that is already in a scope of its own."""


def main(arguments: Sequence[str]) -> int:
    own, command = _split(arguments)
    options = _parser().parse_args(own)
    options.command = command
    try:
        return int(options.call(options))
    except O2cbError as error:
        sys.stderr.write(f"o2ctl: {error}\n")
        return FAILED


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cut the arguments at the first --, behind which a command stands."""
    words = list(arguments)
    if "--" not in words:
        return words, []
    cut = words.index("--")
    return words[:cut], words[cut + 1 :]


class _Parser(argparse.ArgumentParser):
    """One whose complaints end with EX_USAGE, which no command's own exit code is taken for."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="o2ctl", description="Locks, resources, messages and virtual machines of the o2cb cluster.")
    areas = parser.add_subparsers(required=True, metavar="AREA")
    lock = areas.add_parser("lock", help="take, release and show locks").add_subparsers(required=True, metavar="VERB")
    run = _verb(lock, "run", run_command, "run a command while holding a lock; exit code 75 when it is busy")
    _take_options(run)
    run.add_argument(
        "--until-empty",
        action="store_true",
        help="keep the lock until no process of the command is left, not only those that have its descriptors",
    )
    run.add_argument(
        "--slots",
        type=int,
        default=0,
        metavar="N",
        help="let up to N holders in at the same time: the name stands for N locks, of which any will do",
    )
    run.usage = (
        "o2ctl lock run NAME [--shared | --mode M | --slots N] [--wait S] [--owner TEXT] [--domain D] [--recall] "
        "[--until-empty] -- COMMAND..."
    )
    _take_options(_verb(lock, "hold", hold, "hold a lock on this node until it is released"))
    let_go = _verb(lock, "release", release, "release a lock that this node holds")
    _name_options(let_go)
    let_go.add_argument("--token", type=int, help="release only the grant with this token")
    checked = _verb(lock, "check", check, "exit with 0 while this node holds the lock with this token, else with 75")
    _name_options(checked)
    checked.add_argument("--token", type=int, required=True, help="token that the grant had")
    _name_options(_verb(lock, "who", who, "tell who holds a lock, without touching it"))
    _verb(lock, "list", show, "list the locks that this node holds")
    keep = areas.add_parser("keep", help="the keeper of the locks").add_subparsers(required=True, metavar="VERB")
    _verb(keep, "status", status, "what o2keep holds and waits for")
    vm.add(areas, _verb)
    resources.add(areas, _verb)
    messages.add(areas, _verb)
    return parser


def _verb(verbs: Any, name: str, call: object, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.set_defaults(call=call)
    return parser


def _name_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the lock")
    parser.add_argument(
        "--domain", default=names.DEFAULT_DOMAIN, help="domain of the lock manager (default: %(default)s)"
    )


def _take_options(parser: argparse.ArgumentParser) -> None:
    _name_options(parser)
    parser.add_argument(
        "--mode", default="exclusive", help="exclusive, shared, CR, PR, PW or EX (default: %(default)s)"
    )
    parser.add_argument(
        "--shared",
        dest="mode",
        action="store_const",
        const="shared",
        default=argparse.SUPPRESS,
        help="the same as --mode shared",
    )
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="seconds to wait for a busy lock (default: 0)"
    )
    parser.add_argument(
        "--recall", action="store_true", help="make other programs give up what they merely cache of this lock"
    )
    parser.add_argument("--owner", default=_owner(), help="text for those who find it busy (default: %(default)s)")


def _owner() -> str:
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or str(os.getuid())


def _take(options: argparse.Namespace, kind: str) -> tuple[dict[str, Any], list[int]]:
    names.stored(options.name)
    if getattr(options, "slots", 0):
        return _take_any(options, kind)
    return _take_one(options, kind, options.name, options.wait)


def _take_any(options: argparse.Namespace, kind: str) -> tuple[dict[str, Any], list[int]]:
    """Any of N locks, tried in turn and in an order of chance."""
    if not 1 <= options.slots <= MOST_SLOTS or options.mode != "exclusive":
        raise O2cbError(f"--slots {options.slots}: give 1 to {MOST_SLOTS}, and no mode")
    deadline = time.monotonic() + options.wait
    while True:
        for number in random.sample(range(options.slots), options.slots):
            left = max(0.0, min(SLOT_SECONDS, deadline - time.monotonic()))
            answer, descriptors = _take_one(options, kind, f"{options.name}#{number}", left)
            if answer["held"]:
                return answer, descriptors
        if time.monotonic() >= deadline:
            return answer, descriptors


def _take_one(options: argparse.Namespace, kind: str, name: str, wait: float) -> tuple[dict[str, Any], list[int]]:
    request = {
        "op": "take",
        "name": name,
        "domain": options.domain,
        "mode": modes.parse(options.mode).value,
        "kind": kind,
        "wait": wait,
        "owner": options.owner,
        "recall": options.recall,
    }
    return Client().ask(request, wait)


def run_command(options: argparse.Namespace) -> int:
    """Become the command, with the lock's descriptors. The lock lives as long as any process that has them.

    With --until-empty, as long as the control group that systemd makes for the command and all that it starts.
    """
    command: list[str] = options.command
    if not command:
        sys.stderr.write("o2ctl: give a command after --\n")
        return USAGE
    if options.until_empty and os.environ.get(_IN_SCOPE) != str(os.getpid()):
        return _run_again_in_a_scope()
    os.environ.pop(_IN_SCOPE, None)
    answer, descriptors = _take(options, "cgroup" if options.until_empty else "process")
    if not answer["held"]:
        sys.stderr.write(f"o2ctl: {refusal(options.name, answer, options.wait)}\n")
        return BUSY
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    os.environ["O2_LOCK_NAME"] = str(answer["name"])
    os.environ["O2_LOCK_TOKEN"] = str(answer["token"])
    return _become(command)


def _run_again_in_a_scope() -> int:
    """systemd-run registers its own process as the scope and becomes what it is given, so the process id stays."""
    os.environ[_IN_SCOPE] = str(os.getpid())
    scope = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit=o2lock-{os.getpid()}-{time.time_ns()}"]
    return _become([*scope, "--", sys.executable, *sys.argv])


def _become(command: list[str]) -> int:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"o2ctl: {command[0]}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN


def hold(options: argparse.Namespace) -> int:
    answer, _descriptors = _take(options, "node")
    if not answer["held"]:
        sys.stderr.write(f"o2ctl: {refusal(options.name, answer, options.wait)}\n")
        return BUSY
    word = "now held" if answer["changed"] else "held already"
    return tell(
        options, answer, f"{options.name}: {word} by this node in mode {answer['mode']}, token {answer['token']}"
    )


def release(options: argparse.Namespace) -> int:
    more = {} if options.token is None else {"token": options.token}
    answer, _descriptors = Client().ask({"op": "release", "name": options.name, "domain": options.domain, **more}, 10)
    return tell(options, answer, f"{options.name}: {'released' if answer['changed'] else 'was not held by this node'}")


def check(options: argparse.Namespace) -> int:
    answer, _descriptors = Client().ask({"op": "held", "name": options.name, "domain": options.domain})
    lock = answer["lock"]
    if lock is None or lock["token"] != options.token:
        why = "is not held by this node" if lock is None else f"has token {lock['token']} now"
        sys.stderr.write(f"o2ctl: lock {options.name!r} {why}\n")
        return BUSY
    return tell(options, answer, f"{options.name}: held by this node with token {options.token}")


def who(options: argparse.Namespace) -> int:
    answer, _descriptors = Client().ask({"op": "who", "name": options.name, "domain": options.domain}, 5)
    found = answer["holder"]
    return tell(options, answer, f"{options.name}: {holder(found) if found else 'nobody says that he holds it'}")


def show(options: argparse.Namespace) -> int:
    locks = sorted(Client().locks(), key=lambda lock: (lock["domain"], lock["name"]))
    return tell(options, {"locks": locks}, _table(locks))


def status(options: argparse.Namespace) -> int:
    answer, _descriptors = Client().ask({"op": "status"})
    asleep = [f"{what}, for {seconds:.1f} s" for what, seconds in answer["asleep"]]
    lines = [
        f"o2keep of node {answer['node']} holds {answer['locks']} lock(s)",
        f"domains joined: {', '.join(answer['domains']) or 'none'}",
        f"{answer['kept']} of them are kept by systemd too" if answer["kept"] else "systemd keeps none of them",
        *(f"asleep in the kernel: {line}" for line in asleep),
        *(f"unreadable, {one['why']}: release it as slot:{one['slot']}" for one in answer["unreadable"]),
        ", ".join(f"{name} {count}" for name, count in answer["counters"].items()),
    ]
    return tell(options, answer, "\n".join(lines))


def _table(locks: list[dict[str, Any]]) -> str:
    heads = ("lock", "domain", "mode", "kind", "owner", "since", "token")
    rows = [{**lock, "lock": lock["name"], "since": when(lock["since"] / SECOND)} for lock in locks]
    return table(heads, ([row[head] for head in heads] for row in rows))
