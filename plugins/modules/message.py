#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: message
version_added: 0.1.0
short_description: Send a message to all nodes, and collect their answers
description:
  - Sends a message from this node to the agents of all nodes, which hand it to the programs that listen on its channel.
    All messages have one order, the same on every node. The task ends when all nodes that are up have the message.
  - Each host of the play sends a message of its own. One message is enough for the cluster, so run it on one host, as
    with C(run_once).
  - Experimental. Needs the role P(ocfs2.o2cb.agent#role).
options:
  channel:
    description: Name of 1 to 200 printable bytes. Who listens on it gets the message. C(o2agent) is the agents' own.
    type: str
    required: true
  data:
    description: The message, as text. Without this and O(content) it is empty.
    type: str
  content:
    description: The message, as base64, for what is no text. Up to 64 MiB.
    type: str
  to:
    description:
      - Names or numbers of the nodes that are to get it. By default all that are on the bus. The others see nothing of
        it.
    type: list
    elements: str
  collect:
    description:
      - Wait for one answer of each node that is to get it. A program has to listen there and answer, as with C(o2ctl
        answer).
    type: bool
    default: false
  timeout:
    description:
      - Seconds, up to 3600, within which all have the message, and with O(collect) have answered. A message that was
        not delivered to all in this time may still be.
    type: float
    default: 30
  on_missing:
    description:
      - What to do when a node that is up has not answered in time. With V(fail) the task fails, with the answers in its
        result. With V(ignore) it does not, and RV(missing) tells who it was.
      - A node that went down before it answered is in RV(down), and is never a reason to fail.
    type: str
    choices: [fail, ignore]
    default: fail
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
attributes:
  check_mode:
    support: full
    details: Nothing is sent. Unknown nodes, and those that are not on the bus, are complained about.
  diff_mode:
    support: N/A
    details: A message changes no state of which the module knows.
  idempotent:
    support: none
    details:
      - What a message does is up to those who listen, so a task that sends one is always C(changed). Where it only
        asks, say C(changed_when=false).
notes:
  - An answer is nothing that was done on that node by Ansible. What it means is between the programs of a channel.
seealso:
  - module: ocfs2.o2cb.members_info
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Tell all nodes
  ocfs2.o2cb.message:
    channel: deploy
    data: begin
  run_once: true

- name: Ask all nodes, and use what they say
  ocfs2.o2cb.message:
    channel: version
    collect: true
    timeout: 10
  register: versions
  changed_when: false
  run_once: true

- name: Tell what they said
  ansible.builtin.debug:
    msg: "{{ versions.answers }}"
  run_once: true

- name: Send a small file to two nodes
  ocfs2.o2cb.message:
    channel: keys
    content: "{{ lookup('ansible.builtin.file', 'keys.tar', rstrip=false) | b64encode }}"
    to: [node1, node2]
  run_once: true
"""

RETURN = r"""
position:
  description:
    - Position of the message in the order of all messages and views. A message or event with a larger one comes later,
      on every node.
  returned: outside of check mode
  type: int
  sample: 1184
answers:
  description:
    - Answer by node name; as text, or as base64 where RV(binary) names the node.
  returned: with O(collect), outside of check mode
  type: dict
  sample: {node1: "2.4", node2: "2.4"}
binary:
  description: Names of nodes whose answer is no UTF-8 text, and so is given as base64.
  returned: with O(collect), outside of check mode
  type: list
  elements: str
down:
  description: Names of nodes that went down before they answered.
  returned: with O(collect), outside of check mode
  type: list
  elements: str
missing:
  description: Names of nodes that are up, and did not answer in time.
  returned: with O(collect), outside of check mode
  type: list
  elements: str
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [send 5 bytes on channel deploy to all nodes]
"""

import base64
import binascii
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.client.agent import Client

ARGUMENT_SPEC = {
    "channel": {"type": "str", "required": True},
    "data": {"type": "str"},
    "content": {"type": "str"},
    "to": {"type": "list", "elements": "str"},
    "collect": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 30},
    "on_missing": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
}


def run(options: dict[str, Any], client: Client, check: bool) -> dict[str, Any]:
    """What the module returns. Raises O2cbError when the message, or an answer, has not come through."""
    data = _data(options)
    rows = client.ask("members")["members"]
    names = {row["node"]: row["name"] or str(row["node"]) for row in rows}
    to = None if options["to"] is None else [_node(wanted, rows) for wanted in options["to"]]
    whom = "all nodes" if to is None else ", ".join(names[node] for node in to)
    what = f"{'ask' if options['collect'] else 'send'} {len(data)} bytes on channel {options['channel']}"
    result: dict[str, Any] = {"changed": True, "actions": [f"{what} to {whom}"]}
    if check:
        return result
    if not options["collect"]:
        return {**result, "position": client.send(options["channel"], data, to, options["timeout"])}
    found = client.question(options["channel"], data, to, options["timeout"])
    texts = {names.get(node, str(node)): _text(answer) for node, answer in found.answers.items()}
    result.update(
        position=found.position,
        answers={name: text for name, (text, _binary) in texts.items()},
        binary=[name for name, (_text, binary) in texts.items() if binary],
        down=[names.get(node, str(node)) for node in found.down],
        missing=[names.get(node, str(node)) for node in found.missing],
    )
    if found.missing and options["on_missing"] == "fail":
        raise O2cbError(
            f"no answer of {', '.join(result['missing'])} within {options['timeout']:g} s: does a program listen on "
            f"channel {options['channel']} there, and answer? All nodes have the message",
            **result,
        )
    return result


def _data(options: dict[str, Any]) -> bytes:
    if options["content"] is None:
        return (options["data"] or "").encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode("".join(options["content"].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise O2cbError(f"content is no base64: {error}; give text as data") from None


def _node(wanted: str, rows: list[dict[str, Any]]) -> int:
    """The number of a node. Raises O2cbError when it is unknown, or would not get a message now."""
    for row in rows:
        if wanted in (row["name"], str(row["node"])):
            if row["state"] not in ("up", "suspect"):
                raise O2cbError(f"{wanted} would not get the message: {row['state']}; see `o2ctl members`")
            return int(row["node"])
    known = ", ".join(row["name"] or str(row["node"]) for row in rows)
    raise O2cbError(f"there is no node {wanted!r} in the cluster: known are {known}")


def _text(data: bytes) -> tuple[str, bool]:
    """An answer for the result, and whether it had to be encoded."""
    try:
        return data.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), True


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, mutually_exclusive=[("data", "content")]
    )
    try:
        with Client() as client:
            result = run(module.params, client, module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
