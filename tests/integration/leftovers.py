"""What scottyd has when a fault is over, against what it had before (reliability D8).

The fault is made some times so that all is warm, what is held is looked at, it is made many times
more, and what is held is to be the same:

- threads and descriptors: to the piece;
- heap: the bytes of all blocks in use (heap_shim.c), less what the store says that its values take,
  within 2% or HEAP_FLOOR, whichever is more: tables that hash grow by doubling, and buffers keep
  the size of the largest that they held. With TIMES faults a leak of 1 KiB each is four times the
  floor. Resident memory is printed, but it says little: malloc gives back in its own time;
- disk: no file but those that belong into a state directory, no segment of the journal that waits
  to be sealed, nothing deleted that is still open.

Sanitizers have a heap of their own, and look for leaks themselves, at the end.
"""
import os
import re
import struct
import tempfile
import time

import scottyd_proc as sp

SHIM = os.path.join(sp.BIN, "heap_shim.so")
TIMES = 192
HEAP_FLOOR = 48 << 10
HEAP_PART = 0.02


class Counted(sp.Scottyd):
    """One whose heap is counted."""

    def __init__(self, config, *flags, **more):
        with tempfile.NamedTemporaryFile(prefix="heap-", delete=False) as f:
            f.write(bytes(16))
        self.heap_file = f.name
        prefix = () if sp.SANITIZED else ("env", f"LD_PRELOAD={SHIM}",
                                          f"SCOTTY_HEAP_FILE={self.heap_file}")
        super().__init__(config, *flags, prefix=prefix, **more)

    def heap(self):
        with open(self.heap_file, "rb") as f:
            return struct.unpack("q", f.read(8))[0]

    def lose(self, blocks):
        """It leaks so many blocks of 1 KiB, one with each of its next allocations."""
        with open(self.heap_file, "r+b") as f:
            f.seek(8)
            f.write(struct.pack("q", blocks))

    def rest_of_heap(self):
        """Without the store's, the least of some looks: what is under way comes on top. 0 under
        sanitizers."""
        if sp.SANITIZED:
            return 0
        least = 1 << 62
        for _ in range(15):
            stored = self.get_json("/metricsapi/store/bytesUsed")[0]["value"]
            least = min(least, self.heap() - stored)
            time.sleep(0.02)
        return least

    def anonymous_kib(self):
        with open(f"/proc/{self.child.pid}/smaps_rollup", encoding="ascii") as f:
            return int(re.search(r"^Anonymous:\s+(\d+)", f.read(), re.M).group(1))

    def __exit__(self, kind, error, trace):
        try:
            super().__exit__(kind, error, trace)
        finally:
            os.unlink(self.heap_file)


def heap_most(before):
    return before + max(HEAP_FLOOR, HEAP_PART * before)


def look(scottyd):
    scottyd.held = scottyd.holds()
    return scottyd.rest_of_heap(), scottyd.anonymous_kib()


def check_nothing_is_left(scottyd, what, fault, times=TIMES, warm=32):
    """fault() makes it once, and returns when it is over."""
    if sp.SANITIZED:
        times, warm = times // 8 + 1, warm // 8 + 1
    for _ in range(warm):
        fault()
    before, resident = look(scottyd)
    threads, files = scottyd.held
    begun = time.monotonic()
    for _ in range(times):
        fault()
    seconds = time.monotonic() - begun
    growth = scottyd.growth()
    deadline = time.monotonic() + 10
    after = scottyd.rest_of_heap()
    while after > heap_most(before) and time.monotonic() < deadline:
        after = min(after, scottyd.rest_of_heap())
    print(f"{what}: {times} times in {seconds:.1f} s: heap besides the store {before} -> {after} "
          f"bytes ({after - before:+d}), anonymous {resident} -> {scottyd.anonymous_kib()} KiB, "
          f"threads {threads} -> {scottyd.holds()[0]}, files {files} -> {scottyd.holds()[1]}, "
          f"{sp.disk_use(scottyd.state)}")
    if growth:
        raise AssertionError(f"{what}: {growth}")
    if after > heap_most(before):
        raise AssertionError(f"{what}: the heap besides the store grew from {before} to {after} "
                             f"bytes in {times} times")
