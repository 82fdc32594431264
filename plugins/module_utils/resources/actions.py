# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting, stopping and checking the parts of a resource on this node.

A stop is not believed but proved: a unit is inactive and its control group is empty, an address is on no device, a
program's own check says so. What cannot be proved within its deadline raises O2cbError, and the lock stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from typing import Mapping, Sequence

from ..base import programs, tasks
from ..base.errors import DeadlineExceeded, O2cbError
from ..locks import cgroups
from . import announce
from .election import State
from .resource import Address, Commands, Part, Unit

PROOF_PAUSE = 0.1
PROOF_SECONDS = 5.0
"""So long after a stop that went well its proof is waited for: the last processes of a unit end in their own time."""

CHECK_SECONDS = 10.0
"""Deadline of a question to systemd, and of ip(8)."""

KILL_SECONDS = 1.0

_NOT_RUNNING = (3, 7)


async def run(command: Sequence[str], seconds: float, more: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a program. Raises O2cbError, DeadlineExceeded in the end; then it is killed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**programs.environment(), **(more or {})},
        )
    except OSError as error:
        raise O2cbError(f"{command[0]}: {error.strerror}") from None
    try:
        output, errors = await asyncio.wait_for(process.communicate(), seconds)
    except asyncio.TimeoutError:
        raise DeadlineExceeded(f"`{' '.join(command)}`", seconds) from None
    finally:
        if process.returncode is None:
            process.kill()
            # One that is asleep in the kernel ends when it wakes; it is not waited for.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), KILL_SECONDS)
    return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")


class Actions:
    """What the agent does to parts. `environment` is what programs are told of their resource."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def state(self, part: Part) -> State:
        """What is known of it now. Never raises: what cannot be asked is not known."""
        try:
            if isinstance(part, Unit):
                return await _unit_state(part)
            if isinstance(part, Address):
                return State.RUNS if await _has_address(part) else State.STOPPED
            code = (await run(part.check, part.check_timeout))[0]
        except O2cbError:
            return State.UNKNOWN
        return State.RUNS if code == 0 else State.STOPPED if code in _NOT_RUNNING else State.UNKNOWN

    async def start(self, part: Part, environment: Mapping[str, str]) -> None:
        """Start it. Raises O2cbError when it does not run then."""
        if isinstance(part, Unit):
            await _systemctl(["start", part.unit], part.start_timeout)
        elif isinstance(part, Address):
            await _add_address(part)
            tasks.begin(_announce_again(part), self._tasks)
        else:
            await _carry_out(part.start, part.start_timeout, environment)
        if await self.state(part) is not State.RUNS:
            raise O2cbError(f"{part} was started without an error, and does not run")

    async def stop(self, part: Part, environment: Mapping[str, str]) -> None:
        """Stop it and prove that. Raises O2cbError when it may still run."""
        if isinstance(part, Unit):
            await _systemctl(["stop", part.unit], part.stop_timeout)
        elif isinstance(part, Address):
            await _remove_address(part)
        else:
            await _carry_out(part.stop, part.stop_timeout, environment)
        deadline = asyncio.get_running_loop().time() + PROOF_SECONDS
        while await self.state(part) is not State.STOPPED:
            if asyncio.get_running_loop().time() > deadline:
                raise O2cbError(f"{part} was stopped without an error, and may still run: {await _remains(part)}")
            await asyncio.sleep(PROOF_PAUSE)


async def _carry_out(command: Sequence[str], seconds: float, environment: Mapping[str, str]) -> None:
    code, output, errors = await run(command, seconds, environment)
    if code:
        raise O2cbError(f"`{' '.join(command)}` ended with {code}: {(errors or output).strip()[:500]}")


async def _systemctl(arguments: Sequence[str], seconds: float) -> None:
    code, output, errors = await run(["systemctl", "--no-ask-password", *arguments], seconds)
    if code:
        raise O2cbError(
            f"systemctl {' '.join(arguments)}: {(errors or output).strip()[:500]}; see `journalctl -u {arguments[-1]}`"
        )


async def _unit_facts(part: Unit) -> Mapping[str, str]:
    wanted = "--property=LoadState,ActiveState,ControlGroup,Slice"
    code, output, errors = await run(["systemctl", "show", wanted, "--", part.unit], CHECK_SECONDS)
    if code:
        raise O2cbError(f"systemctl show {part.unit}: {errors.strip()}")
    return dict(line.partition("=")[::2] for line in output.splitlines())


def _group(part: Unit, facts: Mapping[str, str]) -> str:
    """Its control group. A unit that is inactive may not name the one in which it has left processes."""
    if facts.get("ControlGroup"):
        return facts["ControlGroup"]
    slices = facts.get("Slice") or "system.slice"
    nested = slices[: -len(".slice")].split("-")
    path = "/".join("-".join(nested[: depth + 1]) + ".slice" for depth in range(len(nested)))
    return f"/{path}/{part.unit}"


async def _unit_state(part: Unit) -> State:
    facts = await _unit_facts(part)
    state = facts.get("ActiveState")
    if state in ("active", "reloading"):
        return State.RUNS
    if state in ("inactive", "failed"):
        return State.STOPPED if cgroups.is_empty(_group(part, facts)) else State.UNKNOWN
    return State.UNKNOWN


async def _remains(part: Part) -> str:
    """What stands in the way of the proof, in words."""
    try:
        if isinstance(part, Unit):
            facts = await _unit_facts(part)
            return f"it is {facts.get('ActiveState')}, with processes in {_group(part, facts)}"
    except O2cbError as error:
        return str(error)
    return "its check does not say that it is stopped" if isinstance(part, Commands) else "the address is still there"


async def _ip(arguments: Sequence[str], seconds: float = CHECK_SECONDS) -> str:
    code, output, errors = await run(["ip", *arguments], seconds)
    if code:
        raise O2cbError(f"ip {' '.join(arguments)}: {errors.strip()}")
    return output


async def _devices_with(part: Address) -> tuple[str, ...]:
    """The devices that have the address, whatever its prefix there."""
    wanted = ipaddress.ip_interface(part.address).ip
    found = json.loads(await _ip(["-json", "address", "show"]) or "[]")
    return tuple(
        link["ifname"]
        for link in found
        for entry in link.get("addr_info", [])
        if "local" in entry and ipaddress.ip_address(entry["local"]) == wanted and not entry.get("dadfailed")
    )


async def _has_address(part: Address) -> bool:
    return bool(await _devices_with(part))


async def _add_address(part: Address) -> None:
    """Add it, unless another machine answers for it, and tell the network."""
    interface = ipaddress.ip_interface(part.address)
    if interface.version == 4:
        await announce.refuse_if_answered(part.device, interface.ip, part.start_timeout)
    if not await _has_address(part):
        await _ip(["address", "add", str(interface), "dev", part.device])
    if interface.version == 6:
        try:
            await _duplicate_detection(part)
        except O2cbError:
            await _remove_address(part)
            raise
    announce.gratuitous(part.device, interface.ip)


async def _announce_again(part: Address) -> None:
    """As long as the address is here: nobody is told what is not so any more."""
    interface = ipaddress.ip_interface(part.address)
    with contextlib.suppress(O2cbError, OSError):
        for _number in range(announce.REPEATS):
            await asyncio.sleep(announce.REPEAT_SECONDS)
            if not await _has_address(part):
                return
            announce.gratuitous(part.device, interface.ip)


async def _duplicate_detection(part: Address) -> None:
    """The kernel's own, of RFC 4862: until it ends the address is tentative."""
    wanted = ipaddress.ip_interface(part.address).ip
    deadline = asyncio.get_running_loop().time() + part.start_timeout
    while True:
        found = json.loads(await _ip(["-json", "address", "show", "dev", part.device]))
        entries = [entry for link in found for entry in link.get("addr_info", [])]
        mine = [entry for entry in entries if ipaddress.ip_address(entry.get("local", "::")) == wanted]
        if any(entry.get("dadfailed") for entry in mine):
            raise O2cbError(f"another machine answers for {wanted} on {part.device}: find it before this one has it")
        if mine and not any(entry.get("tentative") for entry in mine):
            return
        if asyncio.get_running_loop().time() > deadline:
            raise DeadlineExceeded(f"duplicate address detection of {wanted} on {part.device}", part.start_timeout)
        await asyncio.sleep(PROOF_PAUSE)


async def _remove_address(part: Address) -> None:
    interface = ipaddress.ip_interface(part.address)
    for device in await _devices_with(part):
        found = json.loads(await _ip(["-json", "address", "show", "dev", device]))
        for entry in (entry for link in found for entry in link.get("addr_info", [])):
            if ipaddress.ip_address(entry.get("local", "::")) == interface.ip:
                await _ip(["address", "delete", f"{interface.ip}/{entry['prefixlen']}", "dev", device])
