# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutants that no test can or should kill, each with the reason.

By the name of the module and the change, as bin/test mutants prints it. One that is killed after all, or whose line is
gone, fails the step: a judgement is about the code as it was read.
"""

from __future__ import annotations

_FOR_TYPES = "None where a name or UUID is wanted finds nothing either; the text is there for the type checker."
_ABSENT = "Without a resource should_run has said absent, and this is not reached."
_TRUTH = "Its callers ask only whether there is a text."
_ABLE = "A node without a priority must not run it; should_run has said that, and this is not reached."
_ONE_HELD = "One of the two is held here; a type checker cannot know."
_NO_HOLDER = "The world names no other holder of a lock that was just granted."

JUDGED: dict[str, dict[str, str]] = {
    "token": {
        "next_token: before = clocks.own - clocks.others if clocks.others else 0.0 -> "
        "before = clocks.own - clocks.others if clocks.others else 1.0": (
            "It is only compared with 11 s, and shown only beyond them."
        ),
        "next_token: before = clocks.own - clocks.others if clocks.others else 0.0 -> "
        "before = clocks.own - clocks.others if clocks.others else -1.0": (
            "It is only compared with 11 s, and shown only beyond them."
        ),
    },
    "isolation": {
        "wait: own = live.cluster.node(live.local or '') -> own = live.cluster.node(live.local)": _FOR_TYPES,
        "wait: own = live.cluster.node(live.local or '') -> own = live.cluster.node(live.local or 'mutant')": (
            "Any name that no node has will do."
        ),
    },
    "devices": {
        """volume_by_udev: files.read(f"{_UDEV}/b{files.read_line(f'{_SYSFS}/{kernel_name}/dev')}") or '' -> """
        """files.read(f"{_UDEV}/b{files.read_line(f'{_SYSFS}/{kernel_name}/dev')}") or 'mutant'""": (
            "Any text without a line E:ID_FS_TYPE= will do."
        ),
        "find_regions: found[uuid] = usable[0] -> found[uuid] = usable[-1]": "There is exactly one.",
    },
    "election": {
        "Memory.ran_well: if self.given_up and now - self.retry > 2 * resource.window: -> "
        "if now - self.retry > 2 * resource.window:": "A 0 is set to 0.",
        "rank: -(able[name] or 0) -> -able[name]": "Those with None were left out; a type checker cannot know.",
        "next_step: if why or resource is None: -> if why:": _ABSENT,
        "_as_holder: if why or resource is None: -> if why:": _ABSENT,
        "_last: -1 -> -2": "It is only compared with 0 and with numbers of parts.",
        "_gives_way: if resource is None or seen.wisher in ('', seen.me): -> if seen.wisher in ('', seen.me):": _ABSENT,
        "_gives_way: return '' -> return None": _TRUTH,
        "_gives_way: return '' -> return None (2)": _TRUTH,
        "_gives_way: return '' -> return None (3)": _TRUTH,
        "_gives_way: theirs > (mine or 0) -> theirs > mine": _ABLE,
        "_wishes: return '' -> return None": _ABSENT,
        "_wishes: return '' -> return 'mutant'": _ABSENT,
        "_wishes: (mine or 0) > theirs -> mine > theirs": _ABLE,
        "_wishes: return '' -> return None (2)": _TRUTH,
    },
    "guard": {
        "module: T = TypeVar('T') -> T = TypeVar('')": "Only type checkers read it.",
        "release: view.pids and (view.run or view.incoming) and (waited < GONE_SECONDS) -> "
        "view.pids and (view.run or view.incoming) and (waited <= GONE_SECONDS)": (
            "The sum of 20 times 0.1 is not 2 but a little more."
        ),
        "release: (view.run or view.incoming or Held(0, 0)).token -> (view.run or view.incoming).token": _ONE_HELD,
        **{
            "release: (view.run or view.incoming or Held(0, 0)).token -> "
            f"(view.run or view.incoming or Held({held})).token": _ONE_HELD
            for held in ("1, 0", "-1, 0", "0, 1", "0, -1")
        },
        "_take_run: if not taken.held and taken.holder and taken.holder.here: -> "
        "if taken.holder and taken.holder.here:": _NO_HOLDER,
        "_take_run: return taken if taken.held else replace(taken, text=_reason(taken)) -> "
        "return replace(taken, text=_reason(taken))": "The text of one that is held is not read.",
        "_enter: if not taken.held and taken.holder and taken.holder.here: -> "
        "if taken.holder and taken.holder.here:": _NO_HOLDER,
        "_enter: if taken.held or taken.reason != BUSY: -> if taken.reason != BUSY:": (
            "o2keep gives no reason with a lock that it grants."
        ),
    },
    "quorum": {
        "decide: needed = (len(beating) + 1) // 2 -> needed = (len(beating) + 2) // 2": "The number is odd here.",
        "decide: (len(reachable) > half, f'{count}, {half + 1} are needed, or {half} with the lowest node among them') "
        "-> (len(reachable) >= half, f'{count}, {half + 1} are needed, or {half} with the lowest node among them')": (
            "They are not equal here."
        ),
    },
    "regions": {
        "resolve: device = devices.find_regions([uuid or ''])[uuid or ''] -> "
        "device = devices.find_regions([uuid or ''])[uuid or 'mutant']": (
            "Without a UUID find_regions has raised before the index is used."
        ),
        "resolve: device = devices.find_regions([uuid or ''])[uuid or ''] -> "
        "device = devices.find_regions([uuid or ''])[uuid]": (
            "Without a UUID find_regions has raised before the index is used."
        ),
    },
}
