# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a member asks its shell for, event by event."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import effects, frames
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.core import Core
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.effects import Deliver, Evict, Probe, Send, Sent, Take
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.log import BusFull, Log, Outbox
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.settings import Settings
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import (
    AGENT_DOWN,
    JOIN,
    MESSAGE,
    NODE_DOWN,
    Entry,
    View,
    quorate,
)


def alone(settings: Settings | None = None) -> Core:
    """The only node's agent, with a bus of its own."""
    core = Core(1, 5, (1,), settings)
    core.start(0.0)
    core.granted(effects.ALIVE)
    for second in range(1, 5):
        core.tick(float(second))
    core.drain()
    core.granted(effects.SEQUENCER)
    return core


def kinds(found: list[effects.Effect]) -> list[type]:
    return [
        type(effect) for effect in found if not (isinstance(effect, Send) and isinstance(effect.frame, frames.Echo))
    ]


def test_an_agent_first_takes_alive_and_greets_nobody_before():
    core = Core(1, 1, (1, 2))
    core.start(0.0)
    core.link_up(2)
    assert core.drain() == [Take(effects.ALIVE)]
    core.granted(effects.ALIVE)
    assert core.drain() == [Send(2, frames.Hello(1, (0, 0)))]


def test_alive_is_tried_again_for_its_patience_and_then_given_up():
    core = Core(1, 1, (1,), Settings(alive_patience=3.0))
    core.start(0.0)
    for second in range(1, 5):
        core.refused(effects.ALIVE)
        core.tick(float(second))
    assert kinds(core.drain()) == [Take] * 5
    core.refused(effects.ALIVE)
    assert core.drain() == [Evict(effects.NO_ALIVE)]


def test_the_only_node_founds_a_bus_and_its_messages_are_delivered_at_once():
    core = alone()
    counter = core.send("vm", b"hello")
    found = core.drain()
    assert Deliver(1, Entry(JOIN, 1, 5)) in found
    assert Deliver(2, Entry(MESSAGE, 1, 5, 1, "vm", b"hello")) in found
    assert found.index(Sent(counter, 2)) > found.index(Deliver(2, Entry(MESSAGE, 1, 5, 1, "vm", b"hello")))


def test_a_bus_is_not_founded_while_another_node_may_have_one():
    core = Core(1, 1, (1, 2))
    core.start(0.0)
    core.granted(effects.ALIVE)
    for second in range(1, 5):
        core.tick(float(second))
    core.granted(effects.SEQUENCER)
    core.tick(5.0)
    assert Probe(effects.ALIVE, 2, 0) in core.drain()
    core.held(effects.ALIVE, 2, 0)
    core.tick(6.0)
    assert not any(isinstance(effect, Deliver) for effect in core.drain())
    core.proven(effects.ALIVE, 2, 0)
    assert any(isinstance(effect, Deliver) for effect in core.drain())


def test_a_sender_is_refused_when_its_queue_is_full():
    core = Core(1, 1, (1,), Settings(queue=3))
    for number in range(3):
        assert core.send("vm", b"") == number + 1
    with pytest.raises(BusFull, match="3 messages of this node wait"):
        core.send("vm", b"")


def test_what_is_too_long_is_refused():
    core = Core(1, 1, (1,), Settings(payload=10))
    for channel, payload in (("vm", bytes(11)), ("c" * 256, b"")):
        with pytest.raises(O2cbError, match="at most 10 bytes"):
            core.send(channel, payload)


def test_an_agent_that_gave_up_does_nothing_and_takes_no_message():
    core = alone()
    core.lost(effects.ALIVE)
    assert core.drain()[-1] == Evict(effects.LOST_ALIVE)
    core.tick(10.0)
    core.link_up(2)
    core.receive(2, frames.Hello(1, (0, 0)))
    assert not any(isinstance(effect, Deliver | Take) for effect in core.drain())
    with pytest.raises(O2cbError, match="has left the bus"):
        core.send("vm", b"")


def test_the_watchdog_is_fed_when_the_last_frame_to_oneself_has_come_back():
    core = alone()
    core.drain()
    core.tick(10.0)
    echo = next(effect.frame for effect in core.drain() if isinstance(effect, Send) and effect.peer == 1)
    core.tick(11.0)
    core.receive(1, echo)
    assert effects.Feed() not in core.drain(), "it is an old one"
    core.receive(1, frames.Echo(core.echo))
    assert effects.Feed() in core.drain()


def test_time_in_which_the_agent_did_not_run_does_not_count():
    core = alone()
    clock = core.clock
    core.tick(core.now + 1000)
    assert core.clock == clock + core.settings.longest_step


def test_a_lock_that_comes_too_late_is_given_back():
    core = alone()
    core.evict("stopped")
    core.granted(effects.SEQUENCER)
    assert core.drain()[-1] == effects.Release(effects.SEQUENCER)


def learner() -> Core:
    """Node 2's agent, with the state of node 1's bus in epoch (1, 1, 4), and a link to node 3."""
    core = Core(2, 5, (1, 2, 3))
    core.start(0.0)
    core.granted(effects.ALIVE)
    for node, incarnation, history in ((1, 4, (1, 4)), (3, 6, (0, 0))):
        core.link_up(node)
        core.receive(node, frames.Hello(incarnation, history))
    core.receive(1, frames.Welcome(1, (1, 4), (1, 1, 4), 1, ((1, 4, 0),), ()))
    core.drain()
    return core


def sent_to(core: Core, node: int) -> list[frames.Frame]:
    return [effect.frame for effect in core.drain() if isinstance(effect, Send) and effect.peer == node]


def test_a_learner_lets_nobody_found_a_bus_while_it_has_a_link_to_its_sequencer():
    core = learner()
    founding = frames.Collect((0, 0), (2, 3, 6), (0, 0, 0), 0, 0)
    core.receive(3, founding)
    assert not sent_to(core, 3)
    core.link_down(1)
    core.receive(3, founding)
    assert sent_to(core, 3) == [frames.Promise((2, 3, 6), (0, 0, 0), 0, 0)]


def test_a_learner_that_another_bus_waits_for_ends_unless_its_sequencer_is_there():
    core = learner()
    of_another = frames.Collect((3, 6), (2, 3, 6), (1, 3, 6), 2, 2)
    core.receive(3, of_another)
    assert core.phase == Core.LEARNING
    core.link_down(1)
    core.receive(3, of_another)
    assert effects.Evict(effects.FOREIGN) in core.drain()


def test_one_that_has_counted_wrongly_begins_anew_beyond_and_only_a_member_is_on_a_dead_node():
    """A node whose clock and file were lost, or that somebody spoke for, must not be reset at each start."""
    fresh = Core(2, 5, (2, 3))
    fresh.start(0.0)
    fresh.granted(effects.ALIVE)
    fresh.link_up(3)
    fresh.receive(3, frames.Dead(4, 99, False))
    assert fresh.phase == Core.FRESH, "another one is meant"
    fresh.receive(3, frames.Dead(5, 99, False))
    assert (kinds(fresh.drain())[-1], fresh.later) == (Evict, 99)
    taught = learner()
    taught.receive(3, frames.Dead(taught.incarnation, 99, False))
    assert Evict(effects.EARLIER) in taught.drain()
    for of_its_own in (alone(), learner()):
        of_its_own.nodes = (1, 2, 3)
        of_its_own.link_up(3)
        latest = 99 if of_its_own.phase == Core.MEMBER else of_its_own.incarnation
        of_its_own.receive(3, frames.Dead(of_its_own.incarnation, latest, False))
        assert Evict(effects.DECLARED_DOWN) in of_its_own.drain()
        assert of_its_own.later == 0


def test_who_is_dead_is_told_what_is_known_of_its_node():
    core = alone()
    core.nodes = (1, 3)
    core.link_up(3)
    core.receive(3, frames.Hello(1 << 50, (0, 0)))
    core.link_down(3)
    core.link_up(3)
    core.drain()
    core.receive(3, frames.Hello(7, (0, 0)))
    assert sent_to(core, 3) == [frames.Dead(7, (1 << 50) - 1, False)]


def test_a_member_that_another_bus_waits_for_tells_it_that_this_is_in_vain():
    core = alone()
    core.nodes = (1, 3)
    core.link_up(3)
    core.receive(3, frames.Hello(6, (3, 6)))
    core.drain()
    core.receive(3, frames.Collect((3, 6), (2, 3, 6), (1, 3, 6), 2, 2))
    assert sent_to(core, 3) == [frames.Dead(6, 6, True)]
    assert core.phase == Core.MEMBER


def test_who_is_asked_to_go_by_an_epoch_before_its_promise_says_what_it_has_promised():
    core = learner()
    core.receive(3, frames.Go((0, 3, 6), 2, 5))
    assert sent_to(core, 3) == [frames.Refused((1, 1, 4))]
    core.receive(3, frames.Go((2, 3, 6), 2, 5))
    assert effects.Evict(effects.ASKED) in core.drain()


@pytest.mark.parametrize(
    ("reached", "voters", "decides"),
    [
        ({1, 2}, {1, 2, 3}, True),
        ({3}, {1, 2, 3}, False),
        ({1}, {1, 2}, True),
        ({2}, {1, 2}, False),
        ({1, 4}, {1, 2, 3, 4}, True),
        ({2, 3}, {1, 2, 3, 4}, False),
        ({7}, {7}, True),
    ],
)
def test_half_decides_only_with_the_lowest_node(reached, voters, decides):
    assert quorate(reached, voters) is decides


def test_a_view_knows_who_is_absent_until_its_node_is_down_or_it_is_back():
    view = View()
    for entry in (Entry(JOIN, 1, 1), Entry(JOIN, 2, 1), Entry(AGENT_DOWN, 1, 1), Entry(AGENT_DOWN, 2, 1)):
        view.apply(entry)
    assert view.absent == {1: 1, 2: 1}
    view.apply(Entry(NODE_DOWN, 1, 1))
    view.apply(Entry(JOIN, 2, 2))
    assert (view.members, view.absent, view.position) == ({2: 2}, {}, 6)


def test_a_down_of_an_earlier_incarnation_does_not_touch_the_later_one():
    view = View()
    view.apply(Entry(JOIN, 1, 2))
    view.apply(Entry(AGENT_DOWN, 1, 1))
    assert view.members == {1: 2}


def test_a_log_forgets_from_its_beginning_and_replaces_its_end():
    entries = [Entry(MESSAGE, 1, 1, counter) for counter in range(1, 7)]
    log = Log(10, entries)
    log.forget(12)
    assert (log.base, log.top, log.at(13)) == (12, 16, entries[2])
    log.replace(14, [entries[0]])
    assert (log.top, log.after(13)) == (15, [entries[3], entries[0]])
    log.forget(100)
    assert (log.base, log.top) == (15, 15)


def test_an_outbox_gives_out_in_order_and_again_after_a_rewind():
    outbox = Outbox(10)
    for _number in range(5):
        outbox.add("c", b"")
    assert [message.counter for message in outbox.following(0, 3)] == [1, 2, 3]
    outbox.submitted = 3
    outbox.confirm(1)
    assert [message.counter for message in outbox.following(3, 3)] == [4]
    outbox.rewind()
    assert [message.counter for message in outbox.following(outbox.submitted, 3)] == [2, 3, 4]
