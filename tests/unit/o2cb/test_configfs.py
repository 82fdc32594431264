# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is not done to a region in configfs. That it would panic the kernel is shown on nodes, in tests/faults."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.configfs import ConfigFs


def test_a_region_whose_start_was_broken_off_is_never_removed(tmp_path):
    region = tmp_path / "lab" / "heartbeat" / "A"
    region.mkdir(parents=True)
    (region / "pid").write_text("1336\n")
    (region / "dev").write_text("")
    with pytest.raises(O2cbError, match=r"start of heartbeat region A was broken off.*reboot this node"):
        ConfigFs(str(tmp_path)).stop_region("lab", "A")
    assert region.exists()


def test_a_region_that_was_never_started_is_removed(tmp_path):
    region = tmp_path / "lab" / "heartbeat" / "A"
    region.mkdir(parents=True)
    ConfigFs(str(tmp_path)).stop_region("lab", "A")
    assert not region.exists()
