# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module boot, as Ansible calls it."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import install
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.modules import boot


def call(capsys, **arguments: object) -> dict:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        boot.main()
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def done(monkeypatch) -> list[str]:
    done: list[str] = []

    def plan(options, system) -> install.Plan:
        made = install.Plan()
        made.add(f"write {options['mount']}", lambda: done.append(options["mount"]))
        return made

    monkeypatch.setattr(install, "plan", plan)
    return done


@pytest.mark.parametrize("check", [True, False])
def test_check_mode_tells_what_is_done_and_does_nothing(capsys, done, check):
    result = call(capsys, program="UEs=", mount="/locks", _ansible_check_mode=check)
    assert (result["changed"], result["actions"]) == (True, ["write /locks"])
    assert done == ([] if check else ["/locks"])


def test_an_error_becomes_a_failure_in_words(capsys, monkeypatch):
    def refuse(options, system) -> install.Plan:
        raise O2cbError("there is no such sysctl", key="kernel.panic")

    monkeypatch.setattr(install, "plan", refuse)
    result = call(capsys, program="UEs=")
    assert (result["failed"], result["msg"], result["key"]) == (True, "there is no such sysctl", "kernel.panic")


def test_the_program_is_asked_for_only_where_it_is_installed(capsys, done):
    assert "program" in call(capsys)["msg"]
    assert call(capsys, state="absent")["changed"]
