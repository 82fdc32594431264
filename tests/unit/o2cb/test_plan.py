# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans: what each change needs, in tables; and, by a model, that any is legal, complete and may be interrupted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, plan, sysconfig
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.kernel import MODULES
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.plan import Scope, Verb
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have, Live, LiveRegion
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.configfs_model import ConfigfsModel, Illegal

UUIDS = tuple(letter * 32 for letter in "ABCDEF")
NODES = tuple(Node(f"n{number}", number, f"10.0.0.{number}") for number in (1, 2, 3))
LAB = Cluster("lab", NODES, UUIDS[:3])


def online(cluster: Cluster = LAB, connected: tuple[int, ...] = (2,), domains: tuple[str, ...] = ()) -> Have:
    """This machine is n1, takes part in this cluster, and its files say so."""
    regions = tuple(LiveRegion(uuid, "dm-0") for uuid in cluster.regions)
    return Have(
        hostname="n1",
        conf=conf.Document().with_cluster(cluster).render(),
        sysconfig=sysconfig.merged("", sysconfig.wanted(cluster)),
        live=Live(cluster, regions, "n1", frozenset(connected), domains),
        stack="o2cb",
    )


def steps(made: plan.Plan) -> list[str]:
    """The steps without the files and without the reasons."""
    outside = (Verb.WRITE_CONF, Verb.WRITE_SYSCONFIG)
    return [str(replace(step, why="")) for step in made.steps if step.verb not in outside]


def moved(number: int) -> Cluster:
    """The cluster with the node of that number on another address."""
    nodes = (replace(node, address=f"10.0.1.{number}") if node.number == number else node for node in NODES)
    return replace(LAB, nodes=tuple(nodes))


FOURTH = Node("n4", 4, "10.0.0.4")


@pytest.mark.parametrize(
    ("want", "expected"),
    [
        (replace(LAB, nodes=(*NODES, FOURTH)), ["add node n4 (number 4, 10.0.0.4:7777) [online]"]),
        (moved(3), ["remove node n3 [online]", "add node n3 (number 3, 10.0.1.3:7777) [online]"]),
        (replace(LAB, nodes=NODES[:2]), ["remove node n3 [online]"]),
        (replace(LAB, regions=UUIDS[:4]), [f"start region {UUIDS[3]} [online]"]),
        (replace(LAB, timeouts=Timeouts(reconnect_delay_ms=3000)), ["set reconnect_delay_ms to 3000 [online]"]),
        (replace(LAB, fence_method="panic"), ["set fence_method to panic [online]"]),
        (LAB, []),
    ],
    ids=["add node", "move node that is down", "remove node that is down", "add region", "reconnect", "fence", "none"],
)
def test_what_the_kernel_can_change_online_is_changed_online(want, expected):
    made = plan.plan(online(domains=("vm",)), want, purge=True)
    assert steps(made) == expected
    assert made.scope is Scope.ONLINE


@pytest.mark.parametrize(
    ("want", "domains", "scope", "why"),
    [
        (moved(2), (), Scope.CLUSTER_OFFLINE, "it is connected"),
        (replace(LAB, nodes=(NODES[0], NODES[2])), (), Scope.CLUSTER_OFFLINE, "it is connected"),
        (moved(1), (), Scope.NODE_OFFLINE, "node n1 (number 1, 10.0.0.1:7777) becomes"),
        (replace(LAB, regions=UUIDS[:2]), ("vm",), Scope.NODE_OFFLINE, "while a domain is joined (vm)"),
        (replace(LAB, regions=UUIDS[1:4]), ("vm",), Scope.NODE_OFFLINE, "while a domain is joined (vm)"),
        (replace(LAB, heartbeat_mode="local"), (), Scope.CLUSTER_OFFLINE, "heartbeat global -> local"),
        (replace(LAB, name="new"), (), Scope.CLUSTER_OFFLINE, "the kernel holds cluster lab"),
        (replace(LAB, timeouts=Timeouts(61)), (), Scope.CLUSTER_OFFLINE, "heartbeat_dead_threshold 31 -> 61"),
        (replace(LAB, timeouts=Timeouts(31, 40000)), (), Scope.CLUSTER_OFFLINE, "idle_timeout_ms 30000 -> 40000"),
        (replace(LAB, timeouts=Timeouts(31, 30000, 3000)), (), Scope.CLUSTER_OFFLINE, "keepalive_delay_ms 2000 -> "),
    ],
)
def test_what_the_kernel_pins_takes_this_node_or_all_offline(want, domains, scope, why):
    made = plan.plan(online(domains=domains), want, purge=True)
    assert made.scope is scope
    assert why in str(made.steps)
    assert Verb.UNREGISTER in {step.verb for step in made.steps}


@pytest.mark.parametrize("timeouts", [Timeouts(61), Timeouts(31, 40000), Timeouts(31, 30000, 3000)])
def test_the_timeouts_are_pinned_by_a_region_or_a_connection_and_by_nothing_else(timeouts):
    want = replace(LAB, timeouts=timeouts)
    assert plan.plan(online(connected=()), want).scope is Scope.CLUSTER_OFFLINE
    have = online(connected=())
    idle = replace(have.live, cluster=replace(LAB, regions=()), regions=())
    assert plan.plan(replace(have, live=idle), want).scope is Scope.ONLINE
    assert plan.plan(replace(have, live=replace(idle, connected=frozenset((2,)))), want).scope is Scope.CLUSTER_OFFLINE


@pytest.mark.parametrize(
    ("had", "kept", "domains", "scope"),
    [
        (5, 4, ("vm",), Scope.ONLINE),
        (4, 3, ("vm",), Scope.ONLINE),
        (5, 3, ("vm",), Scope.ONLINE),
        (3, 2, ("vm",), Scope.NODE_OFFLINE),
        (4, 2, ("vm",), Scope.NODE_OFFLINE),
        (3, 2, (), Scope.ONLINE),
    ],
)
def test_a_region_goes_online_while_three_remain_or_no_domain_is_joined(had, kept, domains, scope):
    have = online(replace(LAB, regions=UUIDS[:had]), domains=domains)
    assert plan.plan(have, replace(LAB, regions=UUIDS[:kept]), purge=True).scope is scope


def test_a_region_goes_online_also_while_locks_are_held():
    have = replace(online(replace(LAB, regions=UUIDS[:4]), domains=("vm",)), in_use=("domain vm has 1 lock(s)",))
    assert steps(plan.plan(have, LAB, purge=True)) == [f"stop region {UUIDS[3]} [online]"]


def test_a_fresh_machine_comes_online_in_the_order_that_the_kernel_asks_for():
    have = Have("n1", missing_modules=("ocfs2_dlmfs",), stack="", unit="inactive")
    assert [str(step) for step in plan.plan(have, LAB).steps] == [
        "write /etc/ocfs2/cluster.conf [online]",
        "write settings /etc/default/o2cb [online]",
        "load module ocfs2_dlmfs [online]",
        "select cluster stack o2cb [online]",
        "register cluster lab [online]",
        "set heartbeat/mode to global [online]",
        "set heartbeat/dead_threshold to 31 [online]",
        "set idle_timeout_ms to 30000 [online]",
        "set keepalive_delay_ms to 2000 [online]",
        "set reconnect_delay_ms to 2000 [online]",
        "set fence_method to reset [online]",
        *(f"add node {node} [online]" for node in NODES),
        "claim to be node n1 [online]",
        *(f"start region {uuid} [online]" for uuid in UUIDS[:3]),
        "start unit o2cb.service [online]",
    ]


def test_two_nodes_that_are_down_may_swap_their_numbers():
    swapped = (NODES[0], replace(NODES[1], number=3), replace(NODES[2], number=2))
    made = plan.plan(online(connected=()), replace(LAB, nodes=swapped))
    after = ConfigfsModel.of(made.have)
    after.apply(made)
    assert (made.scope, after.read().live.cluster) == (Scope.ONLINE, replace(LAB, nodes=swapped))


@pytest.mark.parametrize(
    ("have", "want"),
    [
        (Timeouts(31, 30000, 20000), Timeouts(31, 5000, 2000)),
        (Timeouts(31, 5000, 2000), Timeouts(31, 30000, 20000)),
        (Timeouts(31, 6000, 5000), Timeouts(7, 5000, 4999)),
        (Timeouts(31, 5000, 4999), Timeouts(31, 5001, 5000)),
    ],
)
def test_the_keepalive_is_shorter_than_the_idle_timeout_at_any_time(have, want):
    registered = Have("n1", live=Live(Cluster("lab", timeouts=have)), stack="o2cb")
    made = plan.plan(registered, replace(LAB, timeouts=want))
    after = ConfigfsModel.of(registered)
    after.apply(made)
    assert after.timeouts == want


def test_the_volumes_of_a_local_heartbeat_are_left_to_their_mounts():
    local = replace(LAB, regions=(), heartbeat_mode="local")
    mounted = LiveRegion(UUIDS[0], "sda")
    live = Live(replace(local, regions=(UUIDS[0],)), (mounted,), "n1", frozenset((2,)), (UUIDS[0],))
    have = replace(online(local), live=live, in_use=("an OCFS2 file system is mounted on /data",))
    assert plan.plan(have, local).steps == ()


def test_a_machine_that_the_kernel_takes_for_another_node_goes_offline_to_change_that():
    have = online()
    have = replace(have, live=replace(have.live, local="n2", connected=frozenset()))
    made = plan.plan(have, LAB)
    assert made.scope is Scope.NODE_OFFLINE
    assert "claim to be node n1 [node offline]" in steps(made)


@pytest.mark.parametrize("state", ["offline", "absent"])
def test_leaving_stops_the_regions_first_and_is_refused_while_in_use(state):
    have = online(connected=())
    made = plan.plan(have, LAB, state=state)
    assert steps(made) == [
        *(f"stop region {uuid} [node offline]" for uuid in UUIDS[:3]),
        *(f"remove node {node.name} [node offline]" for node in NODES),
        "unregister cluster lab [node offline]",
    ]
    assert made.target is None
    used = replace(have, in_use=("domain vm has 1 lock(s) under /dlm: a",))
    with pytest.raises(O2cbError, match="domain vm has 1 lock"):
        plan.plan(used, LAB, state=state)
    assert plan.plan(used, LAB, state=state, force=True).steps == made.steps


@pytest.mark.parametrize("state", ["offline", "absent"])
def test_leaving_a_cluster_spares_another_one_its_unit_and_its_start_at_boot(state):
    have = replace(online(replace(LAB, name="other")), unit="active")
    made = plan.plan(have, LAB, state=state)
    assert {step.verb for step in made.steps} == ({Verb.WRITE_CONF} if state == "offline" else set())
    assert made.target == have.live.cluster


def test_offline_without_nodes_leaves_the_cluster_and_keeps_its_entry():
    have = online(connected=())
    have = replace(have, sysconfig=sysconfig.merged("", sysconfig.wanted(LAB)))
    made = plan.plan(have, Cluster("lab"), state="offline")
    assert made.target is None
    assert made.steps[0].verb is Verb.WRITE_SYSCONFIG
    assert sysconfig.boot_cluster(made.steps[0].value) is None
    assert sysconfig.timeouts(made.steps[0].value) == LAB.timeouts
    assert all(step.verb is not Verb.WRITE_CONF for step in made.steps)


def test_what_is_not_listed_stays_unless_purged():
    less = replace(LAB, nodes=NODES[:1], regions=UUIDS[:1])
    assert plan.plan(online(), less).steps == ()
    purged = plan.plan(online(connected=()), less, purge=True)
    assert purged.target == less


@pytest.mark.parametrize(
    ("have", "want", "words"),
    [
        (online(), replace(LAB, nodes=(*NODES, replace(FOURTH, number=1))), "number 1 is also that of"),
        (replace(online(), hostname="n9"), LAB, "`uname -n` is 'n9', and the nodes are n1, n2, n3"),
        (Have("n1"), replace(LAB, regions=()), "there is no region"),
        (Have("n1", conf="node:\n bad\n"), LAB, "line 2"),
        (online(), replace(LAB, nodes=(NODES[0], replace(FOURTH, number=2))), "purge=true removes it"),
    ],
)
def test_an_unsound_wish_is_refused_before_anything_is_planned(have, want, words):
    with pytest.raises(O2cbError, match=words):
        plan.plan(have, want)


def test_the_diff_shows_the_files_and_the_kernel_and_nothing_for_no_change():
    assert plan.plan(online(), LAB).diff() == []
    parts = plan.plan(online(), replace(LAB, nodes=(*NODES, FOURTH))).diff()
    assert [part["after_header"] for part in parts] == ["/etc/ocfs2/cluster.conf", "/sys/kernel/config/cluster"]
    before, after = (parts[1][side].splitlines() for side in ("before", "after"))
    assert set(after) - set(before) == {"node n4 (number 4, 10.0.0.4:7777)"}
    assert set(before) <= set(after)


# regions by themselves


def test_a_region_is_added_to_the_file_and_started():
    made = plan.change_regions(online(domains=("vm",)), "lab", [UUIDS[3]], Verb.START_REGION)
    assert steps(made) == [f"start region {UUIDS[3]} [online]"]
    assert conf.parse(made.steps[0].value).cluster("lab").regions == UUIDS[:4]
    assert plan.change_regions(online(), "lab", [UUIDS[0]], Verb.START_REGION).steps == ()


def test_stopping_or_starting_a_region_leaves_one_that_was_stopped_before_alone():
    five = replace(LAB, regions=UUIDS[:5])
    have = online(five)
    live = replace(have.live, cluster=replace(five, regions=UUIDS[1:5]), regions=have.live.regions[1:])
    have = replace(have, live=live)
    made = plan.change_regions(have, "lab", [UUIDS[4]], Verb.STOP_REGION, keep_conf=True)
    assert [str(step) for step in made.steps] == [f"stop region {UUIDS[4]} [online]"]
    made = plan.change_regions(have, "lab", [UUIDS[5]], Verb.START_REGION)
    assert steps(made) == [f"start region {UUIDS[5]} [online]"]


def test_one_of_the_last_three_regions_is_not_stopped_while_a_domain_is_joined():
    with pytest.raises(O2cbError, match="cannot be done online"):
        plan.change_regions(online(domains=("vm",)), "lab", [UUIDS[0]], Verb.STOP_REGION)


def test_regions_of_a_node_that_is_offline_change_in_the_file_only():
    have = replace(online(), live=None)
    made = plan.change_regions(have, "lab", [UUIDS[0]], Verb.STOP_REGION)
    assert [step.verb for step in made.steps] == [Verb.WRITE_CONF]
    with pytest.raises(O2cbError, match="run the module cluster"):
        plan.change_regions(Have("n1"), "lab", [UUIDS[0]], Verb.START_REGION)


# any change at all, by the model

TIMEOUTS = st.sampled_from(
    [Timeouts(), Timeouts(7), Timeouts(61, 60000, 5000, 3000), Timeouts(31, 5000, 4999), Timeouts(31, 40000, 35000)]
)
ROTATIONS = st.integers(0, 2)


@st.composite
def clusters(draw, names=("lab",)) -> Cluster:
    """Sound clusters with n1 in them; numbers, addresses and ports vary from one to the next."""
    shift, subnet = draw(ROTATIONS), draw(st.integers(0, 1))
    numbers = {1} | draw(st.sets(st.integers(1, 5)))
    return Cluster(
        name=draw(st.sampled_from(names)),
        nodes=tuple(
            Node(f"n{number}", (number + shift) % 6, f"10.0.{subnet}.{number}", draw(st.sampled_from((7777, 7778))))
            for number in numbers
        ),
        regions=tuple(draw(st.sets(st.sampled_from(UUIDS), min_size=1))),
        heartbeat_mode="global",
        timeouts=draw(TIMEOUTS),
        fence_method=draw(st.sampled_from(("reset", "panic"))),
    )


@st.composite
def lives(draw, want: Cluster) -> Live:
    """Anything from a registered name, left by an interrupted run, to a node in full swing; some of it as wanted."""
    cluster = draw(clusters(names=("lab", "lab", "lab", "other")))
    cluster = replace(cluster, heartbeat_mode=draw(st.sampled_from(("global", "global", "global", "local"))))
    for field in ("nodes", "regions", "timeouts"):
        if draw(st.booleans()):
            cluster = replace(cluster, **{field: getattr(want, field)})
    local = draw(st.sampled_from((None, "n1", *(node.name for node in cluster.nodes))))
    started = cluster.regions if local and cluster.heartbeat_mode == "global" else ()
    started = started[draw(st.integers(0, len(started))) :] if draw(st.booleans()) else started
    broken = tuple(draw(st.sets(st.sampled_from(UUIDS)))) if draw(st.booleans()) else ()
    regions = [LiveRegion(uuid, "dm-0") for uuid in started]
    regions += [LiveRegion(uuid) for uuid in broken if uuid not in started]
    others = [node.number for node in cluster.nodes if node.name != local]
    return Live(
        replace(cluster, regions=started),
        tuple(sorted(regions, key=lambda region: region.uuid)),
        local,
        frozenset(draw(st.sets(st.sampled_from(others)))) if others and started else frozenset(),
        ("vm",) if started and draw(st.booleans()) else (),
    )


@st.composite
def haves(draw, want: Cluster) -> Have:
    live = draw(st.none() | lives(want))
    filed = draw(st.none() | clusters(names=("lab", "other")))
    return Have(
        hostname="n1",
        conf=None if filed is None else conf.Document().with_cluster(filed).render(),
        sysconfig=draw(st.sampled_from((None, "", "O2CB_ENABLED=false\nOTHER=1\n"))),
        live=live,
        stack="o2cb" if live else draw(st.sampled_from(("", "o2cb", "pcmk"))),
        missing_modules=() if live else draw(st.sampled_from(((), MODULES))),
        unit=draw(st.sampled_from(("", "inactive", "active"))),
    )


def planned(have: Have, want: Cluster, state: str, purge: bool) -> plan.Plan:
    """Discards what cannot be wished for, such as a new node with the number of one that stays."""
    try:
        return plan.plan(have, want, state, purge)
    except O2cbError:
        assume(False)
        raise


@st.composite
def situations(draw) -> tuple[Have, Cluster]:
    want = draw(clusters())
    return draw(haves(want)), want


STATES = st.sampled_from(("online", "online", "offline", "absent"))


@given(situation=situations(), state=STATES, purge=st.booleans())
def test_every_step_is_legal_the_end_is_the_target_and_planning_again_gives_nothing(situation, state, purge):
    have, want = situation
    made = planned(have, want, state, purge)
    after = ConfigfsModel.of(have)
    after.apply(made)
    now = after.read()
    assert (now.live.cluster if now.live else None) == made.target
    assert plan.plan(now, want, state, purge).steps == ()
    if state == "online":
        assert made.target is not None
        assert (now.live.local, now.live.online, now.stack) == ("n1", True, "o2cb")
        assert purge is False or made.target == want


@given(situation=situations(), state=STATES, purge=st.booleans(), data=st.data())
def test_a_run_that_is_interrupted_after_any_step_is_finished_by_the_next(situation, state, purge, data):
    have, want = situation
    made = planned(have, want, state, purge)
    node = ConfigfsModel.of(have)
    node.apply(made, count=data.draw(st.integers(0, len(made.steps)), label="steps done"))
    node.apply(plan.plan(node.read(), want, state, purge))
    straight = ConfigfsModel.of(have)
    straight.apply(made)
    assert node == straight


NEWCOMER = Node("new", 200, "10.7.7.7")


@st.composite
def online_changes(draw) -> tuple[Have, Cluster]:
    """A node in full swing, and a wish that the kernel can mostly fulfil in the swing."""
    start = draw(clusters())
    peers = [node for node in start.nodes if node.name != "n1" and draw(st.booleans())]
    want = replace(
        start,
        nodes=(*(node for node in start.nodes if node not in peers), NEWCOMER),
        regions=draw(clusters()).regions,
        timeouts=replace(start.timeouts, reconnect_delay_ms=2500),
    )
    return online(start, connected=(), domains=draw(st.sampled_from(((), ("vm",))))), want


@given(have_and_want=online_changes(), purge=st.booleans())
def test_an_online_change_never_beats_on_fewer_regions_than_before_and_after(have_and_want, purge):
    have, want = have_and_want
    made = plan.plan(have, want, "online", purge)
    assume(made.scope is Scope.ONLINE)
    node = ConfigfsModel.of(have)
    least = min(node.beating, len(made.target.regions))
    for step in made.steps:
        node.apply(plan.Plan(have, (step,), made.target))
        assert node.beating >= least
        assert node.local == "n1", "it never ceases to be a member"
    assert node.read().live.cluster == made.target


@given(situation=situations(), data=st.data())
def test_leaving_by_itself_is_legal_in_any_state_and_leaves_nothing(situation, data):
    have = situation[0]
    assume(have.live is not None)
    node = ConfigfsModel.of(have)
    made = plan.leaves(have, have.live.cluster.name)
    node.apply(made, count=data.draw(st.integers(0, len(made.steps)), label="steps done"))
    now = node.read()
    node.apply(plan.leaves(now, have.live.cluster.name))
    assert node.read().live is None


def test_the_model_refuses_what_the_kernel_refuses():
    """A model without teeth would let every plan pass."""
    node = ConfigfsModel.of(online(domains=("vm",)))
    for step in (
        plan.Step(Verb.SET, "heartbeat/dead_threshold", "61"),
        plan.Step(Verb.SET, "idle_timeout_ms", "40000"),
        plan.Step(Verb.REMOVE_NODE, "n2"),
        plan.Step(Verb.REMOVE_NODE, "n1"),
        plan.Step(Verb.STOP_REGION, UUIDS[0]),
        plan.Step(Verb.REGISTER, "other"),
        plan.Step(Verb.UNREGISTER, "lab"),
        plan.Step(Verb.ADD_NODE, "n9", node=Node("n9", 3, "10.0.0.9")),
    ):
        with pytest.raises(Illegal):
            node.apply(plan.Plan(node.read(), (step,), None))
