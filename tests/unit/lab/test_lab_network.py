# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts as the bridge shows them, and lossy networks as shell commands."""

from __future__ import annotations

from typing import Any

import pytest

from lab import cli, network


def port(**flags: bool) -> dict[str, Any]:
    """A tap on the bridge, as `ip -details -json link` shows it."""
    return {"master": network.BRIDGE, "linkinfo": {"info_slave_data": {"flood": True, "locked": False, **flags}}}


@pytest.mark.parametrize(
    ("link", "cut"),
    [({}, "both"), (port(), ""), (port(flood=False), "in"), (port(locked=True), "out")],
)
def test_the_direction_of_a_cut_is_read_back_from_the_bridge(link: dict[str, Any], cut: str):
    assert network.cut_of(link) == cut


def test_loss_is_in_both_directions_and_spares_the_labs_own_ssh():
    script = network.loss(50)
    assert script.count("netem loss 50%") == 2
    assert script.count(network.CONTROLLER) == 2


def test_loss_that_is_set_again_replaces_the_one_before():
    assert network.loss(20).startswith(network.LOSSLESS)
    assert network.loss(0) == network.LOSSLESS


def test_a_cut_goes_both_ways_when_nothing_is_said():
    options = cli.parser().parse_args(["cut", "node1"])
    assert (options.nodes, options.direction) == (["node1"], network.BOTH)
    assert cli.parser().parse_args(["cut", "node1", "node2", "--direction", "in"]).direction == network.IN
    assert cli.parser().parse_args(["loss", "node1", "--percent", "20"]).percent == 20
