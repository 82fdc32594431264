# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print the page of `plugin_utils/status.py` on the controller, as plain text rather than as a task's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import status


class ActionModule(ActionBase):
    """Prints, and returns the page too."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        hosts = self._task.args.get("hosts")
        if not isinstance(hosts, Mapping):
            raise AnsibleActionFail("hosts is missing or no dictionary: give the results of cluster_info by host name")
        page = status.page(hosts)
        Display().display("\n" + page)
        result.update(changed=False, page=page)
        return result
