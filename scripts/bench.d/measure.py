# SPDX-License-Identifier: Apache-2.0
"""measure.py RESULT LOG COMMAND...: runs COMMAND with both outputs in LOG and writes what it cost to RESULT as JSON.

A process of its own, started without site packages: Linux counts the memory of the process that forks into the child's
peak, so the one that measures has to be smaller (about 9 MB) than whatever it measures.
"""

import os
import sys
import time

result, log = sys.argv[1], sys.argv[2]
output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
begin = time.monotonic()
child = os.fork()
if child == 0:
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.execvp(sys.argv[3], sys.argv[3:])
    except OSError as error:
        os.write(2, f"cannot run {sys.argv[3]}: {error}\n".encode())
    os._exit(127)
# The usage of the child and of every process it waited for; the peak is that of the biggest single process.
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - begin
with open(result, "w") as file:
    file.write(
        f'{{"wall": {wall:.4f}, "user": {usage.ru_utime:.4f}, "system": {usage.ru_stime:.4f}, '
        f'"peak": {usage.ru_maxrss * 1024}, "exit": {os.waitstatus_to_exitcode(status)}}}')
