# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module domain: joins once, leaves once, never drops a lock unasked."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.domains import Domain
from ansible_collections.ocfs2.o2cb.plugins.modules import domain


@dataclass
class FakeDlm:
    """dlmfs as data; what is done to it is written down."""

    found: list[Domain] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def joined(self) -> list[Domain]:
        return list(self.found)

    def join_within(self, name: str, mount: str, seconds: float) -> None:
        self.log.append(f"join {mount}/{name}")
        self.found.append(Domain(name, mount))

    def leave(self, name: str, mount: str, force: bool, seconds: float) -> None:
        self.log.append(f"leave {mount}/{name}")
        self.found = [other for other in self.found if (other.name, other.mount) != (name, mount)]


def options(**changes):
    return {"name": "vm", "mount": "/dlm", "state": "present", "force": False, "timeout": 130, **changes}


@pytest.mark.parametrize("check", [True, False])
def test_a_domain_is_joined_once(check):
    dlm = FakeDlm()
    first = domain.run(options(), dlm, check)
    assert (first["changed"], first["joined"]) == (True, True)
    assert first["actions"] == ["join domain vm on /dlm"]
    assert dlm.log == ([] if check else ["join /dlm/vm"])
    assert domain.run(options(), dlm, check)["changed"] is check


@pytest.mark.parametrize("check", [True, False])
def test_a_domain_is_left_once(check):
    dlm = FakeDlm([Domain("vm", "/dlm")])
    first = domain.run(options(state="absent"), dlm, check)
    assert (first["changed"], first["joined"]) == (True, False)
    assert (first["diff"]["before"], first["diff"]["after"]) == ("/dlm/vm\n", "")
    assert domain.run(options(state="absent"), dlm, check)["changed"] is check


@pytest.mark.parametrize("check", [True, False])
def test_locks_are_not_dropped_unasked(check):
    dlm = FakeDlm([Domain("vm", "/dlm", ("a", "b"))])
    with pytest.raises(O2cbError, match=r'domain "vm" still has 2 lock\(s\), a, b') as caught:
        domain.run(options(state="absent"), dlm, check)
    assert caught.value.facts["locks"] == ["a", "b"]
    assert dlm.log == []


def test_force_removes_the_locks_first_and_says_so():
    found = domain.run(options(state="absent", force=True), FakeDlm([Domain("vm", "/dlm", ("a",))]), False)
    assert found["actions"] == ["remove lock a of domain vm", "leave domain vm on /dlm"]
    assert found["diff"]["before"] == "/dlm/vm\n/dlm/vm/a\n"


def test_a_domain_of_another_mount_is_another_matter():
    dlm = FakeDlm([Domain("vm", "/elsewhere")])
    assert domain.run(options(), dlm, False)["changed"] is True
    left = domain.run(options(state="absent"), dlm, False)
    assert (left["changed"], left["joined"]) == (True, True)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 64, ".."])
def test_a_name_that_dlmfs_refuses_is_refused_first(name):
    dlm = FakeDlm()
    with pytest.raises(O2cbError, match="domain name"):
        domain.run(options(name=name), dlm, False)
    assert dlm.log == []
