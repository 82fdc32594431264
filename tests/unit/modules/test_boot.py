# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module boot, as Ansible calls it."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.changes import Changes
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import boot as install
from ansible_collections.ocfs2.o2cb.plugins.modules import boot

PROGRAM = b"PK"
DIGEST = install.sha256(PROGRAM)


def call(capsys, **arguments: object) -> dict:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        boot.main()
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def done(monkeypatch) -> list[str]:
    done: list[str] = []

    def plan(options, program, system) -> Changes:
        made = Changes()
        made.add(f"write {options['mount']}", lambda: done.append(options["mount"]))
        return made

    monkeypatch.setattr(install, "plan", plan)
    monkeypatch.setattr(install, "installed", lambda: PROGRAM)
    return done


@pytest.mark.parametrize("check", [True, False])
def test_check_mode_tells_what_is_done_and_does_nothing(capsys, done, check):
    result = call(capsys, digest=DIGEST, mount="/locks", _ansible_check_mode=check)
    assert (result["changed"], result["actions"]) == (True, ["write /locks"])
    assert done == ([] if check else ["/locks"])


def test_an_error_becomes_a_failure_in_words(capsys, monkeypatch):
    def refuse(options, program, system) -> Changes:
        raise O2cbError("there is no such sysctl", key="kernel.panic")

    monkeypatch.setattr(install, "installed", lambda: PROGRAM)
    monkeypatch.setattr(install, "plan", refuse)
    result = call(capsys, digest=DIGEST)
    assert (result["failed"], result["msg"], result["key"]) == (True, "there is no such sysctl", "kernel.panic")


def test_the_program_is_named_only_where_it_is_installed(capsys, done):
    assert "digest" in call(capsys)["msg"]
    assert call(capsys, state="absent")["changed"]


def test_a_node_without_the_program_asks_for_it_and_does_nothing(capsys, done):
    other = b"PK other"
    digest = install.sha256(other)
    wanted = call(capsys, digest=digest)
    assert (wanted["changed"], wanted["program_wanted"], done) == (False, True, [])
    sent = base64.b64encode(zlib.compress(other)).decode()
    assert "program_wanted" not in call(capsys, digest=digest, program=sent)
    assert done == ["/dlm"]
