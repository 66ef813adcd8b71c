"""The power is cut (A6): of what was written and not synced, any part may be on the disk.

A shim writes down what scottyd does to its files. Of that, directories are made as a power cut at
some moment may leave them: what was synced is there, of the rest a random part, and writes may be
torn. scottyd must start on each of them, with all that is older than journalSync.
"""
import json
import os
import random
import re
import shutil
import tempfile
import time
import unittest

import scottyd_proc as sp
from journal_test import Numbered

SHIM = os.path.join(sp.BIN, "power_shim.so")
CUTS = int(os.environ.get("SCOTTY_POWER_CUTS", 200 if not sp.SANITIZED else 30))
ENDPOINTS = 5
RUN_S = 12
SECTOR = 512
# journalSync, the time until it is written, and a busy machine.
LATE_S = 1 + 0.25 + 0.75 * sp.SLOW


class File:
    """What was done to one, whatever its names were: (index, offset, bytes), bytes None: cut."""

    def __init__(self):
        self.done = []
        self.syncs = []


class Op:
    """What the shim wrote down. synced: the index of the sync that has it; None: no one."""

    def __init__(self, kind, ns, file=None, offset=0, data=None, path=None, other=None):
        self.kind, self.ns, self.file, self.offset = kind, ns, file, offset
        self.data, self.path, self.other, self.synced = data, path, other, None


def read_log(path):
    ops, files, waiting = [], {}, {}
    with open(path, "rb") as f:
        for line in f:
            kind, ns, inode, offset, size, name = line.decode().rstrip("\n").split(" ", 5)
            data = f.read(int(size))
            if kind == "create":
                files[inode] = File()
            op = Op(kind, int(ns), files.get(inode), int(offset), data, name,
                    data.decode() if kind == "rename" else None)
            if kind == "sync":
                # Of a file what was written to it, of a directory the names in it.
                for done in waiting.pop(op.file or name, []):
                    done.synced = len(ops)
            elif kind in ("write", "cut"):
                waiting.setdefault(op.file, []).append(op)
            else:
                waiting.setdefault(os.path.dirname(name), []).append(op)
            ops.append(op)
    return ops


def torn(rng, op, content):
    """Some of the sectors of a write."""
    data = bytearray(op.data)
    for at in range(0, len(data), SECTOR):
        if rng.random() < 0.5:
            old = content[op.offset + at:op.offset + at + SECTOR]
            piece = min(SECTOR, len(data) - at)
            data[at:at + piece] = (bytes(old) + bytes(SECTOR))[:piece]
    return bytes(data)


def apply(rng, ops, cut, keep, tear):
    """({path: bytes}, directories) after the first `cut` operations and a loss of power."""
    names, directories, contents = {}, set(), {}
    for op in ops[:cut]:
        durable = op.synced is not None and op.synced < cut
        if op.kind == "sync" or not (durable or rng.random() < keep):
            continue
        if op.kind == "mkdir":
            directories.add(op.path)
        elif op.kind == "create":
            names[op.path] = op.file
        elif op.kind == "rename" and op.path in names:
            names[op.other] = names.pop(op.path)
        elif op.kind == "unlink":
            names.pop(op.path, None)
        elif op.kind in ("write", "cut") and op.file is not None:
            content = contents.setdefault(op.file, bytearray())
            end = op.offset + len(op.data)
            if op.kind == "cut":
                del content[op.offset:]
            if len(content) < end:
                content.extend(bytes(end - len(content)))
            if op.kind == "write":
                data = op.data if durable or rng.random() >= tear else torn(rng, op, content)
                content[op.offset:end] = data
    return {path: contents.get(file, b"") for path, file in names.items()}, directories


class PowerCut(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="scottyd-power-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.state = os.path.join(self.dir, "state")
        self.log = os.path.join(self.dir, "log")
        self.endpoints = {f"host{i}": Numbered(21) for i in range(ENDPOINTS)}
        for endpoint in self.endpoints.values():
            self.addCleanup(endpoint.close)
        self.registered = []  # (from when on, until when), by number
        self.store = {"memory": "64MiB", "journalSegment": "1s", "journalSegmentSize": "16KiB"}

    def register(self, scottyd):
        number = len(self.registered)
        body = json.dumps({"address": "127.0.0.1", "port": 1, "interval": "1h"})
        answer = sp.ask(scottyd.port, "PUT", f"/api/endpoints/late{number}/app", body)
        self.assertEqual(answer.status, 201, answer.body)
        self.registered.append(time.time_ns())

    def run_it(self):
        """A life under load; what it did to its files."""
        os.mkdir(self.state)
        prefix = ("env", f"LD_PRELOAD={SHIM}", f"SCOTTY_POWER_DIR={self.state}",
                  f"SCOTTY_POWER_LOG={self.log}", "ASAN_OPTIONS=verify_asan_link_order=0")
        config = {"endpoints": [e.element(host, "app") for host, e in self.endpoints.items()],
                  "store": self.store}
        scottyd = sp.Scottyd(config, state=self.state, prefix=prefix)
        try:
            ends = time.monotonic() + RUN_S
            while time.monotonic() < ends:
                self.register(scottyd)
                time.sleep(0.5)
        finally:
            scottyd.kill()
        return read_log(self.log)

    def make(self, rng, ops, cut):
        """A state directory as it may be found."""
        shutil.rmtree(self.state)
        os.mkdir(self.state)
        keep, tear = rng.choice((0, 0.1, 0.5, 0.9, 1)), rng.choice((0, 0, 0.5))
        files, directories = apply(rng, ops, cut, keep, tear)
        for path in sorted(directories):
            os.mkdir(path)
        for path, content in files.items():
            if os.path.isdir(os.path.dirname(path)):
                with open(path, "wb") as f:
                    f.write(content)

    def check(self, ops, cut):
        until_ns = ops[cut].ns
        # Endpoints are not polled any more.
        with sp.Scottyd({"store": self.store}, state=self.state) as scottyd:
            for host, endpoint in self.endpoints.items():
                self.check_host(scottyd, host, endpoint, until_ns / 1e9)
            known = {e["hostName"] for e in scottyd.get_json("/api/endpoints")}
            lost = [n for n, ns in enumerate(self.registered)
                    if ns < until_ns and f"late{n}" not in known]
            self.assertEqual(lost, [], "registrations")
            # They were synced before they got their names.
            self.assertFalse(scottyd.has_line(r"damaged: history|state\.db.*set aside"),
                             scottyd.log())
        for name in os.listdir(self.state):
            self.assertNotRegex(name, r"state\.db.*(damaged|aside)")

    def check_host(self, scottyd, host, endpoint, until_s):
        answer = scottyd.get(f"/api/hosts/{host}/app/number?history=60")
        series = answer.json() if answer.status == 200 else []
        served = {v["value"]: float(v["timestamp"])
                  for s in series for v in s["values"] if v["active"]}
        for number, stamp in served.items():
            self.assertIn(number, endpoint.said)
            self.assertAlmostEqual(stamp, float(endpoint.said[number]), delta=1e-6)
        missing = [n for n, stamp in endpoint.said.items()
                   if float(stamp) < until_s - LATE_S and n not in served]
        self.assertFalse(missing, f"{host}: of {len(served)}, {until_s}")

    def test_any_part_of_what_was_not_synced_may_be_lost(self):
        ops = self.run_it()
        kinds = {kind: sum(op.kind == kind for op in ops) for kind in {op.kind for op in ops}}
        print(f"{len(ops)} operations: {kinds}")
        sealed = sum(op.kind == "rename" and op.other.endswith(".sh") for op in ops)
        self.assertGreater(sealed, 5)
        self.assertTrue(any(re.search(r"state\.db-wal$", op.path) for op in ops))
        seed = random.randrange(1 << 32)
        for i in range(CUTS):
            rng = random.Random(seed + i)
            cut = rng.randrange(1, len(ops))
            with self.subTest(seed=seed + i, cut=cut, kind=ops[cut].kind, path=ops[cut].path):
                self.make(rng, ops, cut)
                self.check(ops, cut)
        print(f"{CUTS} cuts, seeds from {seed} on")


if __name__ == "__main__":
    sp.main()
