# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by the Ansible collection ocfs2.o2cb. Changes are overwritten.
# shellcheck shell=bash

# Completion of o2ctl(8) in bash. It uses no function of the package bash-completion but the one for commands, if there.

# The node locks that this node holds, one a line. A name with a control character is left out.
_o2ctl_held() {
    timeout 2 o2ctl lock list --json 2> /dev/null | python3 -c '
import json, sys
for lock in json.load(sys.stdin)["locks"]:
    if lock["kind"] == "node" and lock["name"].isprintable():
        print(lock["name"])' 2> /dev/null
}

# The virtual machines of this node, one a line.
_o2ctl_machines() {
    timeout 2 o2ctl vm list --json 2> /dev/null | python3 -c '
import json, sys
for machine in json.load(sys.stdin)["machines"]:
    if machine["name"].isprintable():
        print(machine["name"])' 2> /dev/null
}

# The resources of the agent, one a line.
_o2ctl_resources() {
    timeout 2 o2ctl resource list --json 2> /dev/null | python3 -c '
import json, sys
for resource in json.load(sys.stdin)["resources"]:
    print(resource["name"])' 2> /dev/null
}

# The nodes of the cluster, one a line.
_o2ctl_nodes() {
    timeout 2 o2ctl members --json 2> /dev/null | python3 -c '
import json, sys
for member in json.load(sys.stdin)["members"]:
    if member["name"]:
        print(member["name"])' 2> /dev/null
}

_o2ctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[2]} words='' name names='' index
    COMPREPLY=()
    for ((index = 3; index < COMP_CWORD; index++)); do
        [[ ${COMP_WORDS[index]} == -- ]] || continue
        if declare -F _command_offset > /dev/null; then
            _command_offset $((index + 1))
        else
            mapfile -t COMPREPLY < <(compgen -A command -A file -- "$cur")
        fi
        return
    done
    case $COMP_CWORD:$previous in
        1:*) words='lock keep vm resource node agent members events send ask answer listen --help' ;;
        2:lock) words='run hold release check who list --help' ;;
        2:keep) words='status --help' ;;
        2:vm) words='list check release --help' ;;
        2:resource) words='list move clear --help' ;;
        2:node) words='drain resume --help' ;;
        2:agent) words='status reload --help' ;;
        *:--mode) words='exclusive shared CR PR PW EX' ;;
        *:--wait | *:--token | *:--slots | *:--owner | *:--domain | *:--seconds | *:--count) ;;
        *:--to) names=_o2ctl_nodes ;;
        *)
            case ${COMP_WORDS[1]}:$verb in
                vm:release) words='--force --json --help' ;;
                members:*) words='--json --help' ;;
                events:*) words='--follow --seconds --json --help' ;;
                send:* | ask:*) words='--to --seconds --json --help' ;;
                answer:*) words='--count --seconds --report --json --help --' ;;
                listen:*) words='--events --count --seconds --raw --json --help' ;;
                vm:* | resource:* | node:* | agent:*) words='--json --help' ;;
                *:run) words='--shared --mode --slots --wait --owner --domain --until-empty --recall --json --help --' ;;
                *:hold) words='--shared --mode --wait --owner --domain --recall --json --help' ;;
                lock:release | lock:check) words='--token --domain --json --help' ;;
                *:release | *:who) words='--domain --json --help' ;;
                *:list | *:status) words='--json --help' ;;
            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    [[ $COMP_CWORD -ge 3 && $cur != -* ]] || return
    case ${names:-${COMP_WORDS[1]}}:$verb:$COMP_CWORD in
        _o2ctl_nodes:*) ;;
        lock:release:3 | lock:check:3 | lock:who:3) names=_o2ctl_held ;;
        vm:release:3 | vm:list:*) names=_o2ctl_machines ;;
        resource:move:3 | resource:clear:3) names=_o2ctl_resources ;;
        resource:move:4) names=_o2ctl_nodes ;;
        *) return ;;
    esac
    COMPREPLY=()
    while IFS= read -r name; do
        printf -v name %q "$name"
        [[ $name != "$cur"* ]] || COMPREPLY+=("$name")
    done < <("$names")
}

complete -F _o2ctl o2ctl
