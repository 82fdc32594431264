# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hand the program that brings a node online to the module `boot`: packed here, written there, in one transfer."""

from __future__ import annotations

import base64
import zlib
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import zipapp


class ActionModule(ActionBase):
    """The module's own arguments, and the program."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("state", "present") == "present":
            arguments["program"] = base64.b64encode(zlib.compress(zipapp.pack())).decode()
        result: dict[str, Any] = self._execute_module(
            module_name="ocfs2.o2cb.boot", module_args=arguments, task_vars=task_vars
        )
        result.get("invocation", {}).get("module_args", {}).pop("program", None)
        return result
