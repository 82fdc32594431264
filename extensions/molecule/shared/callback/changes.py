# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes down, a line of JSON for each run of a playbook, which tasks changed which host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: changes
type: notification
short_description: Which tasks changed which host
description:
  - Appends a line of JSON to C(changes.jsonl) in Molecule's directory for each run of a playbook.
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "changes"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = Path(playbook._file_name).name
        self._changed: dict[str, list[str]] = {}

    def v2_runner_on_ok(self, result: Any) -> None:
        changed = self._changed.setdefault(result.host.get_name(), [])
        if result.result.get("changed"):
            changed.append(result.task.get_name())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        directory = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
        if directory is not None:
            run = {"playbook": self._playbook, "check": context.CLIARGS["check"], "changed": self._changed}
            with Path(directory, "changes.jsonl").open("a", encoding="utf-8") as record:
                record.write(json.dumps(run) + "\n")
