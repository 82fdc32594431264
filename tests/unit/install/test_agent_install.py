# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent is not taken away from under what runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import configuration, daemon, place, service
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.systemd import Systemd
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import agent
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import keeping
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport import authority, credentials

ABSENT = {"state": "absent"}


class Machine:
    """systemctl, and the locks of this node: those of `later` once it was called."""

    def __init__(self, locks: Sequence[str] = (), later: Sequence[str] = ()) -> None:
        self.log: list[str] = []
        self._locks, self._later = locks, later

    def run(self, command: Sequence[str], *_more: object) -> tuple[int, str, str]:
        self.log.append(" ".join(command[1:]))
        return 0, "", ""

    def locks(self) -> list[dict[str, str]]:
        return [{"name": name} for name in (self._later if self.log else self._locks)]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What an installed agent has, in a directory of its own."""
    places = {
        "service": (service, "PATH", "units/o2agent.service"),
        "stop": (service, "STOP_PATH", "units/o2agent-stop.service"),
        "settings": (configuration, "SETTINGS", "etc/agent.json"),
        "drained": (configuration, "DRAINED", "var/drained"),
        "copy": (service, "COPY", "run/o2cb.pyz"),
        "authority": (authority, "AUTHORITY", "etc/tls/authority.pem"),
        "trusted": (credentials, "TRUSTED", "etc/tls/trusted.crt"),
        "own": (credentials, "OWN", "etc/tls/node.pem"),
        "incarnation": (place, "INCARNATION", "var/incarnation"),
        "lock": (daemon, "ONLY_ONE", "run/lock"),
        "socket": (keeping, "AGENT_SOCKET", "run/socket"),
    }
    monkeypatch.setattr(configuration, "DIRECTORY", str(tmp_path / "etc"))
    monkeypatch.setattr(configuration, "RESOURCES", str(tmp_path / "etc/resources.d"))
    paths = [tmp_path / "etc/resources.d/web.json"]
    for module, name, where in places.values():
        monkeypatch.setattr(module, name, str(tmp_path / where))
        paths.append(tmp_path / where)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return paths


def test_an_agent_without_resources_goes_with_all_its_files(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(["wish:web"])
    monkeypatch.setattr(agent, "_locks", machine.locks)
    plan = agent.plan(ABSENT, Systemd(machine.run))
    assert all(path.exists() for path in files), "a plan changes nothing"
    plan.apply()
    assert [path for path in files if path.exists()] == []
    assert machine.log == ["disable --now o2agent.service", "daemon-reload"]
    assert agent.plan(ABSENT, Systemd(machine.run)).actions == []


def test_one_that_runs_a_resource_stays(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(["resource:web", "resource:db"])
    monkeypatch.setattr(agent, "_locks", machine.locks)
    with pytest.raises(O2cbError, match="resources run on this node: db, web; drain it first"):
        agent.plan(ABSENT, Systemd(machine.run))
    assert machine.log == []


def test_one_that_gets_a_resource_at_the_last_moment_is_started_again(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(later=["resource:web"])
    monkeypatch.setattr(agent, "_locks", machine.locks)
    plan = agent.plan(ABSENT, Systemd(machine.run))
    with pytest.raises(O2cbError, match="resources run on this node: web"):
        plan.apply()
    assert machine.log == ["disable --now o2agent.service", "enable --now o2agent.service"]
    assert all(path.exists() for path in files)
