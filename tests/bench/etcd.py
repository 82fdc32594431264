# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The etcd of the node on which this runs, by its JSON gateway (api-grpc-gateway of etcd 3.4). Runs on the nodes."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any


class Etcd:
    """One connection. An answer that takes longer than `timeout` seconds raises OSError."""

    def __init__(self, timeout: float | None = 10) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", 2379, timeout=timeout)

    def call(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        self._connection.request("POST", path, json.dumps(body))
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer


def encoded(text: str) -> str:
    """A key as the gateway wants it."""
    return base64.b64encode(text.encode()).decode()
