# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe names the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import image, recipe
from lab.recipe import Recipe

RECIPE = Recipe("bookworm", "6.1.176", "ssh-ed25519 AAAA", (("lab-node", "#!/bin/sh\n"),))


def test_the_same_recipe_has_the_same_name():
    assert recipe.recipe("bookworm", "6.1", "key").name == recipe.recipe("bookworm", "6.1", "key").name
    assert RECIPE.name.startswith("bookworm-")


@pytest.mark.parametrize(
    "change",
    [
        {"release": "trixie"},
        {"kernel": "6.1.177"},
        {"public_key": "other"},
        {"files": (("lab-node", "#!/bin/sh\nexit\n"),)},
        {"installed": ("systemd",)},
        {"offered": ("ocfs2-tools",)},
        {"masked": ()},
        {"size": 1 << 30},
        {"format": 99},
    ],
)
def test_every_ingredient_counts(change: dict[str, object]):
    assert replace(RECIPE, **change).name != RECIPE.name  # type: ignore[arg-type]


def test_a_node_is_made_without_ocfs2_tools_and_offers_them():
    assert "ocfs2-tools" not in RECIPE.installed
    assert "ocfs2-tools" in RECIPE.offered


def test_every_file_of_the_recipe_exists_and_every_file_is_in_the_recipe():
    directory = Path(recipe.__file__).parent / "files"
    assert {path.name for path in directory.iterdir()} == set(recipe.FILES)


def test_the_bootstrap_dies_with_its_parent_and_gets_the_archives_as_they_are():
    command = image.bootstrap_command(RECIPE, Path("/c/root"), ["deb http://mirror.example/debian bookworm main"])
    assert command[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert command[-3:] == ["bookworm", "/c/root", "deb http://mirror.example/debian bookworm main"]
