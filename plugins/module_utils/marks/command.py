# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`o2cb.pyz record`: the record on disk by hand, on one node.

show           what each region holds
mark           the largest token that this node may have given out
create [MARK]  headers on regions that have none; all nodes must be online and know the record. The first time MARK is
               the largest of what `record mark` says on all nodes
raise TOKEN    this node's mark above TOKEN: after storage was restored, with the largest of all nodes' files
try [COUNT]    so many tokens for locks of which nothing is known, and what each costs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..base.errors import O2cbError
from ..o2cb import observe
from ..o2cb.state import Live
from . import asking, creating, local, page
from .recorder import Recorder, Trial, assemble


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="o2cb.pyz record", description=(__doc__ or "").partition("\n\n")[2])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("verb", choices=["show", "mark", "create", "raise", "try"])
    parser.add_argument("number", nargs="?", type=int, metavar="TOKEN or COUNT")
    options = parser.parse_args(arguments)
    if options.verb == "raise" and options.number is None:
        parser.error("raise needs a TOKEN")
    try:
        live = observe.live(())
        if live is None or not live.online:
            raise O2cbError("this node is not online in an o2cb cluster: see `systemctl status o2cb`")
        if options.verb == "show":
            return _show(live)
        if options.verb == "mark":
            sys.stdout.write(f"{creating.own_mark()}\n")
            return 0
        if options.verb == "create":
            return _create(live, options.number or 0)
        return _raise(live, options.number) if options.verb == "raise" else _try(live, options.number or 100)
    except (O2cbError, OSError) as error:
        _fail(str(error))


def _fail(text: str) -> NoReturn:
    sys.stderr.write(f"o2cb.pyz record: {text}\n")
    raise SystemExit(1)


def _show(live: Live) -> int:
    reading, _places = creating.look(live)
    for region in live.regions:
        view = reading.views.get(region.uuid)
        if view is None:
            why = "no room" if region.uuid in reading.placeless else reading.problems.get(region.uuid, "not started")
            sys.stdout.write(f"{region.uuid}  {why}\n")
            continue
        header = view.header
        floor = f"floor {header.floor}, set {header.generation}, cluster {header.cluster}" if header else ""
        sys.stdout.write(f"{region.uuid}  {'  '.join(filter(None, [floor, view.trouble()]))}\n")
        for node, slot in sorted(view.slots.items()):
            definitions = f", definitions {slot.generation} {slot.digest[:8]}" if slot.generation else ""
            sys.stdout.write(f"    node {node}: mark {slot.mark}, write {slot.sequence}{definitions}\n")
    return 0


def _create(live: Live, above: int) -> int:
    written = creating.create(live, creating.known_here(above))
    sys.stdout.write("".join(f"{uuid}  has a header now\n" for uuid in written) or "every region has its header\n")
    return 0


def _recorder(live: Live) -> Recorder:
    """For a node without o2keep. Where that runs it is asked: of two that write one slot, one may lose the other's."""
    return assemble(live, local.File(), page_path=f"{page.PATH}.by-hand")


def _raise(live: Live, token: int) -> int:
    asker = asking.Asker()
    if asker.is_there():
        mark = int(asker.ask({"verb": "raise", "token": token})["mark"])
    else:
        recorder = _recorder(live)
        try:
            recorder.run(recorder.ledger.raise_above(token))
        finally:
            recorder.regions.close()
        mark = recorder.ledger.mark
    sys.stdout.write(f"the mark of this node is {mark} now\n")
    return 0


def _try(live: Live, count: int) -> int:
    asker = asking.Asker()
    if asker.is_there():
        tried = [Trial(**asker.ask({"verb": "try"})) for _number in range(count)]
    else:
        recorder = _recorder(live)
        try:
            tried = [recorder.trial() for _number in range(count)]
        finally:
            recorder.regions.close()
    seconds = sorted(one.seconds for one in tried)
    sys.stdout.write(
        f"{count} tokens, {sum(one.written for one in tried)} with a write, last {tried[-1].token}: "
        f"p50 {seconds[count // 2] * 1000:.2f} ms, p99 {seconds[min(count - 1, count * 99 // 100)] * 1000:.2f} ms, "
        f"most {seconds[-1] * 1000:.2f} ms\n"
    )
    return 0
