# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection promises: check mode, diff, idempotence, platform, action group.

A module names the fragments it keeps in C(extends_documentation_fragment) and gives the C(support) of the rest itself:

    extends_documentation_fragment: [ocfs2.o2cb._attributes, ocfs2.o2cb._attributes.actiongroup_o2cb]
    attributes:
      check_mode: {support: full}
      diff_mode: {support: full}
      idempotent: {support: full}

A module that only reads adds C(ocfs2.o2cb._attributes.info_module), which answers for these three.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the prediction of what would change, without changing anything.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    description: When run twice in a row outside of check mode with the same arguments, the second run changes nothing.
  platform:
    description: Systems on which the module works.
    platforms: Linux
    support: full
"""

    ACTIONGROUP_O2CB = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/ocfs2.o2cb.o2cb) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - ocfs2.o2cb.o2cb
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module only reads.
  diff_mode:
    support: N/A
    details: This module only reads.
  idempotent:
    support: full
    details: This module only reads.
"""
