# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All hosts have to mean the same disks."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.plugin_utils.inventory import region_uuids

ONE = [{"uuid": "B" * 32, "device": "/dev/mapper/hb2"}, {"uuid": "A" * 32, "device": "/dev/mapper/hb1"}]
OTHER = [{"uuid": "C" * 32, "device": "/dev/mapper/hb1"}]
BLANK = [{"uuid": "pending:/dev/mapper/hb1", "device": "/dev/mapper/hb1"}]


def host(before: list[dict[str, str]], after: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """The variables of a host: what was found before any was formatted, and after that, else its task was skipped."""
    found = {"skipped": True} if after is None else {"regions": after}
    return {"__o2cb_preflight": {"regions": before}, "__o2cb_regions": found}


def test_what_was_found_before_counts_where_nothing_was_to_be_formatted() -> None:
    assert region_uuids(["n1", "n2"], {"n1": host(ONE), "n2": host(ONE[::-1])}) == ["A" * 32, "B" * 32]


def test_what_was_found_afterwards_counts_where_something_was() -> None:
    assert region_uuids(["n1", "n2"], {"n1": host(BLANK, OTHER), "n2": host(BLANK, OTHER)}) == ["C" * 32]


def test_without_regions_there_are_none() -> None:
    assert region_uuids(["n1", "n2"], {"n1": host([]), "n2": {}}) == []


def test_two_hosts_that_find_different_disks_are_named() -> None:
    with pytest.raises(O2cbError, match=r"n2 finds other heartbeat regions than n1: C+ on /dev/mapper/hb1, and B+"):
        region_uuids(["n1", "n2"], {"n1": host(ONE), "n2": host(OTHER)})
