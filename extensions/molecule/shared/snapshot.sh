#!/bin/sh
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything on a host that a run of this collection could change, a line each. For sh on the host.
find /etc /usr/local /lib/systemd /var/spool/cron -type f -exec sha256sum {} + | sort -k 2
find /etc /usr/local -type l -printf '%p -> %l\n' | sort
dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n'
grep -o -w -e '^configfs' -e '^ocfs2[a-z0-9_]*' /proc/modules | sort
cat /sys/fs/ocfs2/cluster_stack 2>/dev/null
find /sys/kernel/config/cluster 2>/dev/null | sort
grep -e ocfs2 /proc/mounts
sysctl kernel.panic kernel.panic_on_oops
systemctl is-active o2cb.service dlm.mount
grep ':1E61 ' /proc/net/tcp | wc -l
for name in hb1 hb2 hb3 data; do
    [ -e "/dev/mapper/$name" ] || continue
    echo "disk $name $(dd "if=/dev/mapper/$name" bs=1M count=1 iflag=direct 2>/dev/null | sha256sum)"
done
