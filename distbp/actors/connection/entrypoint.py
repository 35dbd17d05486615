"""The shell command of a job, which finds the host's Python with Ray and runs distbp in it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

# In one line, as Ray logs a job's command. The raylet, an ancestor of the job, has the Python of its workers on its
# command line, in double quotes if the path contains a space.
_FIND_PYTHON = "; ".join(
    (
        "p=$PPID",
        "r=",
        r"""while [ "$p" -gt 0 ] && [ -z "$r" ]; do """
        r"""r=$(tr '\0' '\n' <"/proc/$p/cmdline" | """
        r"""sed -n 's/^--python_worker_command="\([^"]*\)".*/\1/p; s/^--python_worker_command=\([^" ]*\).*/\1/p')""",
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
    """Return the shell command that runs ``distbp.cli.cluster_job`` with the Python of the host's Ray.

    A job's PATH may lack that Python if Ray was started by its full path, so the raylet's command line counts first;
    ``python3`` and ``python`` follow, if they can import Ray.
    """
    return _FIND_PYTHON + shlex.join(["-m", "distbp.cli.cluster_job", *words])
