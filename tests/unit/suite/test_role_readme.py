# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from suite import role_readme


@pytest.mark.parametrize("role", role_readme.roles(), ids=lambda path: path.name)
def test_the_readme_of_each_role_is_the_one_made_from_its_specification(role):
    assert (role / "README.md").read_text(encoding="utf-8") == role_readme.readme(role)
