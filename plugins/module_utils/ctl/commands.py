# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl: what a person does with the cluster from a shell on a node."""

from __future__ import annotations

import argparse
import os
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
    run.usage = (
        "o2ctl lock run NAME [--shared | --mode M] [--wait S] [--owner TEXT] [--domain D] [--recall] [--until-empty] "
        "-- COMMAND..."
    )
    _take_options(_verb(lock, "hold", hold, "hold a lock on this node until it is released"))
    _name_options(_verb(lock, "release", release, "release a lock that this node holds"))
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
    request = {
        "op": "take",
        "name": options.name,
        "domain": options.domain,
        "mode": modes.parse(options.mode).value,
        "kind": kind,
        "wait": options.wait,
        "owner": options.owner,
        "recall": options.recall,
    }
    names.stored(options.name)
    return Client().ask(request, options.wait)


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
    os.environ["O2_LOCK_NAME"] = options.name
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
    answer, _descriptors = Client().ask({"op": "release", "name": options.name, "domain": options.domain}, 10)
    return tell(options, answer, f"{options.name}: {'released' if answer['changed'] else 'was not held by this node'}")


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
    ]
    return tell(options, answer, "\n".join(lines))


def _table(locks: list[dict[str, Any]]) -> str:
    heads = ("lock", "domain", "mode", "kind", "owner", "since", "token")
    rows = [{**lock, "lock": lock["name"], "since": when(lock["since"] / SECOND)} for lock in locks]
    return table(heads, ([row[head] for head in heads] for row in rows))
