# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the lab: `bin/lab VERB …`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import disks, network, prerequisites, progress, sources, ssh, state, table
from .errors import LabError
from .lab import Lab
from .node import Node

REPOSITORY = Path(__file__).resolve().parents[2]

ABOUT = """\
Real o2cb clusters on this machine: every node is a User-Mode Linux kernel with Debian, three shared heartbeat disks
(/dev/mapper/hb1 hb2 hb3) and a shared data disk (/dev/mapper/data). ocfs2-tools is not installed in it; apt in the
node offers it. The same disks are also there as /dev/ubdb to /dev/ubde, names that o2cb does not accept."""

NODE = "node1, node2, … or all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status."""
    options = parser().parse_args(arguments)
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    try:
        return int(options.run(options) or 0)
    except (LabError, TimeoutError) as error:
        progress.say(f"error: {error}")
    except OSError as error:
        progress.say(f"error: {state.explain(error) or error}")
    except KeyboardInterrupt:
        progress.say("interrupted; the same command goes on where it stopped")
        return 130
    return 1


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=argparse.SUPPRESS, help="which lab (default: lab)")
    top = argparse.ArgumentParser(
        prog="bin/lab", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--name", default="lab", help=argparse.SUPPRESS)
    verbs = top.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, parents=[common], help=text, description=text)
        added.set_defaults(run=run)
        return added

    def node_verb(name: str, action: Callable[[Node], object], text: str) -> None:
        added = verb(name, lambda options: each(options, action), text)
        added.add_argument("nodes", nargs="+", metavar="NODE", help=NODE)

    up = verb("up", run_up, "bring a lab up, or mend it; the last line is the inventory's path")
    up.add_argument("--nodes", type=int, metavar="N", help="1 to 8 (3 in the beginning)")
    up.add_argument("--release", choices=sources.RELEASES, help="Debian of the nodes (bookworm in the beginning)")
    up.add_argument("--memory", type=int, metavar="MIB", help="of each node (512 in the beginning)")
    up.add_argument("--fresh", action="store_true", help="virgin nodes and blank shared disks")
    verb("inventory", run_inventory, "print the path of the Ansible inventory")
    into = verb("ssh", run_ssh, "a shell, or one command, on a node")
    into.add_argument("node", metavar="NODE")
    into.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    node_verb("kill", Node.kill, "power cut: all processes of the node are gone at once")
    node_verb("boot", Node.boot, "switch a node on and wait until it answers")
    node_verb("freeze", Node.freeze, "stop a node in time")
    node_verb("thaw", Node.thaw, "let a frozen node go on")
    cut = verb("cut", run_cut, "take a node off the network, or cut one direction only")
    cut.add_argument("nodes", nargs="+", metavar="NODE", help=NODE)
    cut.add_argument(
        "--direction",
        choices=network.DIRECTIONS,
        default=network.BOTH,
        help="in: what others send to it; out: what it sends (default: %(default)s)",
    )
    loss = verb("loss", run_loss, "lose packets between a node and the others, until `heal` or its next boot")
    loss.add_argument("nodes", nargs="+", metavar="NODE", help=NODE)
    loss.add_argument("--percent", type=float, default=50, help="in each direction (default: %(default)s)")
    node_verb("heal", Node.heal, "put a node back on the network, with all its packets")
    disk = verb(
        "disk", run_disk, "make shared disks of a node slow, failing, hanging, ok again, or late at its next boot"
    )
    disk.add_argument("nodes", nargs="+", metavar="NODE", help=NODE)
    disk.add_argument("mode", choices=(*disks.MODES, "late"), metavar="slow|fail|hang|ok|late")
    disk.add_argument(
        "--device", action="append", default=[], metavar="hb1", help="which one (default: all; repeatable)"
    )
    disk.add_argument("--ms", type=int, default=disks.SLOWNESS, help="delay of a slow disk (default: %(default)s)")
    disk.add_argument("--seconds", type=int, default=20, help="how late a late disk is (default: %(default)s)")
    run = verb(
        "exec", run_exec, "run a command, such as ansible, with this project's environment and the lab's inventory"
    )
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    verb("status", run_status, "a table of the nodes")
    console = verb("console", run_console, "print the console log of a node")
    console.add_argument("node", metavar="NODE")
    verb("down", run_down, "take a lab down with all its files; the image stays in the cache")
    return top


def selected(lab: Lab, names: Sequence[str]) -> list[Node]:
    """Nodes by name; `all` is all of them."""
    return lab.nodes() if "all" in names else [lab.node(name) for name in names]


def each(options: argparse.Namespace, action: Callable[[Node], object]) -> None:
    """A verb on some nodes, on all of them at the same time."""
    prerequisites.require_root()
    lab = Lab(options.name)
    lab.each(action, selected(lab, options.nodes))


def run_up(options: argparse.Namespace) -> None:
    print(Lab(options.name).up(options.nodes, options.release, options.memory, options.fresh))


def run_inventory(options: argparse.Namespace) -> None:
    lab = Lab(options.name)
    lab.wanted()
    print(lab.inventory)


def run_ssh(options: argparse.Namespace) -> None:
    prerequisites.require_root()
    if options.command[:1] == ["--name"]:  # argparse leaves all that follows NODE to COMMAND
        options.name, options.command = options.command[1], options.command[2:]
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    node = Lab(options.name).node(options.node)
    node.require_running()
    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    call = ssh.command(node.lab, node.number, command, batch=not terminal)
    os.execvp(call[0], [call[0], *terminal, *call[1:]])


def run_cut(options: argparse.Namespace) -> None:
    each(options, lambda node: node.cut(options.direction))


def run_loss(options: argparse.Namespace) -> None:
    each(options, lambda node: node.lose(options.percent))


def run_disk(options: argparse.Namespace) -> None:
    if options.mode == "late":
        each(options, lambda node: node.disk_late(options.seconds, options.device))
    else:
        each(options, lambda node: node.disk(options.mode, options.device, options.ms))


def environment(lab: Lab) -> dict[str, str]:
    """Environment in which the project's Ansible works on this lab."""
    return {
        **os.environ,
        "O2CB_LAB": lab.name,
        "PATH": f"{REPOSITORY / '.venv' / 'bin'}:{os.environ.get('PATH', '')}",
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".ansible" / "tree"),
        "ANSIBLE_INVENTORY": str(lab.inventory),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_HOST_KEY_CHECKING": "0",
        "ANSIBLE_FORKS": "10",
        "ANSIBLE_NOCOWS": "1",
    }


def run_exec(options: argparse.Namespace) -> None:
    lab = Lab(options.name)
    lab.wanted()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LabError("exec needs a command: bin/lab exec -- ansible nodes -m ping")
    setup = REPOSITORY / "bin" / "setup"
    if setup.exists():
        subprocess.run([str(setup)], check=True, stdout=sys.stderr)
    env = environment(lab)
    found = shutil.which(command[0], path=env["PATH"])
    if not found:
        raise LabError(f"the command {command[0]} is neither in {REPOSITORY / '.venv' / 'bin'} nor in PATH")
    os.execve(found, command, env)


def run_status(options: argparse.Namespace) -> None:
    prerequisites.require_root()
    lab = Lab(options.name)
    print(table.render(lab.each(Node.report)))


def run_console(options: argparse.Namespace) -> None:
    console = Lab(options.name).node(options.node).console
    if not console.exists():
        raise LabError(f"{options.node} was never booted: `bin/lab up --name {options.name}`")
    with console.open(errors="replace") as log:
        shutil.copyfileobj(log, sys.stdout)


def run_down(options: argparse.Namespace) -> None:
    if not Lab(options.name).down():
        progress.say(f"there is no lab called {options.name!r}: nothing to do")
