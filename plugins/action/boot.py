# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hand the program that brings a node online to the module `boot`: packed here, sent where it is not there yet."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import zipapp


class ActionModule(ActionBase):
    """The module's own arguments, and the program: first by its digest, then whole where that is asked for."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        if self._task.args.get("state", "present") != "present":
            return self._ask(task_vars)
        program = zipapp.pack()
        digest = hashlib.sha256(program).hexdigest()
        result = self._ask(task_vars, digest=digest)
        if result.get("program_wanted"):
            encoded = base64.b64encode(zlib.compress(program)).decode()
            result = self._ask(task_vars, digest=digest, program=encoded)
        return result

    def _ask(self, task_vars: dict[str, Any] | None, **more: str) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="ocfs2.o2cb.boot", module_args={**self._task.args, **more}, task_vars=task_vars
        )
        for name in more:
            result.get("invocation", {}).get("module_args", {}).pop(name, None)
        return result
