# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what a run did, one line of JSON for each event, and ends the run where a test wants it to end.

The file is that of the environment variable O2CB_RECORD. With O2CB_STOP_AFTER set to the name of a task, the run is
killed, as by kill -9, once that task has ended on all hosts: nothing of the run gets a chance to tidy up.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: recorder
type: notification
short_description: Writes each event of a run to a file
description:
  - Writes one line of JSON for each start of a task and each result of a host, and can kill the run.
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._stop_after = os.environ.get("O2CB_STOP_AFTER")
        self._task = ""

    def _write(self, **event: Any) -> None:
        with open(os.environ["O2CB_RECORD"], "a", encoding="utf-8") as record:
            record.write(json.dumps(event, default=str) + "\n")

    def _end_of_task(self) -> None:
        if self._stop_after and self._task.endswith(self._stop_after):
            os.killpg(0, signal.SIGKILL)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._end_of_task()
        self._task = task.get_name()
        self._write(task=self._task, status="start")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._end_of_task()

    def _tell(self, result: Any, status: str) -> None:
        self._write(task=self._task, host=result.host.get_name(), status=status, result=result.result)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._tell(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._tell(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._tell(result, "unreachable")
