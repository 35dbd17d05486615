"""The shell command of a job: which Python of the host runs it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

# One line, since Ray shows a job's command. Ray's own process, above the job's, knows the Python of its workers.
_FIND_PYTHON = "; ".join(
    (
        "p=$PPID",
        "r=",
        r"""while [ "$p" -gt 0 ] && [ -z "$r" ]; do """
        r"""r=$(tr '\0' '\n' <"/proc/$p/cmdline" | sed -n 's/^--python_worker_command=\([^ ]*\).*/\1/p')""",
        r"""p=$(sed 's/.*) [A-Z] \([0-9]*\).*/\1/' "/proc/$p/stat")""",
        "done 2>/dev/null",
        'for p in "$r" python3 python; do '
        """"$p" -c 'import importlib.util as u; exit(u.find_spec("ray") is None)' 2>/dev/null && break""",
        "p=",
        "done",
        """[ "$p" ] || { echo 'Error: no Python on this host has Ray: put it on the PATH of the cluster'; exit 1; }""",
        'exec "$p" ',
    )
)


def entrypoint(words: Sequence[str]) -> str:
    """Return the shell's words that run ``distbp.cli.cluster_job`` with the Python that the host's Ray runs in.

    Where Ray was started by its full path there is no ``python`` on the PATH of a job, or another one: so it is asked
    for first, and ``python3`` and ``python`` are taken where they have Ray.
    """
    return _FIND_PYTHON + shlex.join(["-m", "distbp.cli.cluster_job", *words])
