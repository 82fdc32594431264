# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints one line of JSON for each task and host: the task's name, and the seconds until that host's result."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_seconds
type: stdout
short_description: Seconds of each task on each host
description:
  - Prints one line of JSON for each task and host.
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "task_seconds"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._started = time.monotonic()

    def _tell(self, result: Any, ok: bool) -> None:
        seconds = time.monotonic() - self._started
        line = {
            "task": result._task.get_name(),
            "host": result._host.get_name(),
            "ok": ok,
            "seconds": round(seconds, 4),
        }
        if not ok:
            line["msg"] = str(result._result.get("msg", ""))
        print(json.dumps(line), flush=True)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._tell(result, ok=True)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._tell(result, ok=False)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._tell(result, ok=False)
