"""Endpoints that bring new series without end (reliability D5, C2): what the store may take is the
limit, the one that asks for more is told so, the others go on, and memory stays bounded.
"""
import json
import time
import unittest

import scottyd_proc as sp

STORE_MIB = 16
ANSWER_MIB = 48
# What is not the store: the program; an answer being read, and what its poll is compared in.
RSS_MORE_MIB = 40 + 3 * ANSWER_MIB
# Addresses: stacks of threads and heaps per thread count in full.
SPACE_MIB = 2048
GOOD = 10
NEW = 2000 if not sp.SANITIZED else 1000  # series, at each poll
INTERVAL = "200ms"
PREFIX = () if sp.SANITIZED else ("prlimit", f"--as={SPACE_MIB << 20}")


class Answering(sp.Endpoint):
    """Whose metrics are made when it is asked."""

    @property
    def body(self):
        return self.answer()

    @body.setter
    def body(self, _):
        pass


class Exploding(Answering):
    """NEW series more at each poll, next to those it had (keeps) or in their place."""

    def __init__(self, keeps):
        self.keeps, self.grows, self.made, self.pieces = keeps, True, 0, []
        super().__init__()

    def answer(self):
        if not self.keeps:
            self.pieces = []
        if not self.grows:
            return f"[{', '.join(self.pieces)}]".encode()
        # Those of a group agree on their time.
        now, group = f"{time.time():.9f}", len(self.pieces)
        self.pieces.append(", ".join(
            f'{{"path":"/new/{self.made + i:09}","description":"number {self.made + i}",'
            f'"unit":"None","kind":"int64","bits":64,"value":{self.made},"timestamp":"{now}",'
            f'"groupId":{group}}}' for i in range(NEW)))
        self.made += NEW
        return f"[{', '.join(self.pieces)}]".encode()


class Counting(Answering):
    """100 metrics that count the answers."""

    def answer(self):
        now = f"{time.time():.9f}"
        return json.dumps([sp.metric(f"/n/{i:02}", "int64", self.requests, bits=64, ts=now)
                           for i in range(100)]).encode()


class Cardinality(unittest.TestCase):
    def config(self):
        return {"store": {"memory": f"{STORE_MIB}MiB"}, "endpoints": self.elements,
                "collection": {"maxResponse": f"{ANSWER_MIB}MiB", "staleAfter": "0s"}}

    def start(self, bad):
        self.good = [Counting() for _ in range(GOOD)]
        for endpoint in (bad, *self.good):
            self.addCleanup(endpoint.close)
        self.elements = [one.element(f"good{i}", "app", INTERVAL) for i, one in enumerate(self.good)]
        scottyd = sp.Scottyd(self.config(), prefix=PREFIX)
        self.addCleanup(scottyd.__exit__, None, None, None)
        for one in self.good:
            one.wait_polled()
        self.elements.append(bad.element("bad", "app", INTERVAL))
        scottyd.configure(self.config())
        scottyd.reload()
        return scottyd

    def own(self, scottyd, path):
        return scottyd.get_json(f"/metricsapi{path}")[0]["value"]

    def check_good(self, scottyd):
        """They are polled on, and what they say now is served."""
        before = [scottyd.value(f"good{i}", "app", "/n/99") for i in range(GOOD)]
        for one in self.good:
            one.wait_polled(3)
        endpoints = scottyd.endpoints()
        for i, number in enumerate(before):
            self.assertEqual(endpoints[f"good{i}", "app"]["error"], "")
            self.assertEqual(endpoints[f"good{i}", "app"]["metricCount"], 100)
            self.assertGreater(scottyd.value(f"good{i}", "app", "/n/99"), number)

    def check_bounded(self, scottyd):
        used, limit = (self.own(scottyd, f"/store/{name}") for name in ("bytesUsed", "bytesLimit"))
        peak = scottyd.status_kib("VmHWM") >> 10
        print(f"store {used >> 20} of {limit >> 20} MiB, {self.own(scottyd, '/store/seriesCount')} "
              f"series; RSS at most {peak} MiB, address space {scottyd.status_kib('VmPeak') >> 10}")
        self.assertLessEqual(used, limit)
        if not sp.SANITIZED:
            self.assertLess(peak, STORE_MIB + RSS_MORE_MIB)

    def test_series_are_refused_when_the_store_is_full(self):
        bad = Exploding(keeps=True)
        scottyd = self.start(bad)
        error = lambda: scottyd.endpoints()["bad", "app"]["error"]
        sp.eventually(error, "the limit", 60)
        bad.grows = False
        for _ in range(3):
            self.assertRegex(error(), r"store is full: \d+ MiB of \d+ MiB used; raise store.memory")
            self.check_good(scottyd)
            self.assertEqual([e["hostName"] for e in scottyd.get_json("/api/errors/")], ["bad"])
        bad.grows = True
        sp.eventually(lambda: "raise collection.maxResponse" in error(), "the limit of a poll", 60)
        self.check_good(scottyd)
        self.check_bounded(scottyd)
        # Few in place of those many, which end with the endpoint.
        bad.pieces, bad.keeps = [], False
        scottyd.configure({**self.config(), "endpoints": self.elements[:-1]})
        scottyd.reload()
        scottyd.configure(self.config())
        scottyd.reload()
        sp.eventually(lambda: not error(), "it is stored again", 30)

    def test_series_in_place_of_others_use_their_memory(self):
        bad = Exploding(keeps=False)
        scottyd = self.start(bad)
        sp.eventually(lambda: self.own(scottyd, "/store/reclaimedPages") > 0, "the store is full", 60)
        made = bad.made
        sp.eventually(lambda: bad.made > 2 * made + 50 * NEW, "twice as many", 60)
        self.assertEqual(scottyd.get_json("/api/errors/"), [])
        self.check_good(scottyd)
        self.check_bounded(scottyd)
        self.assertLess(self.own(scottyd, "/store/seriesCount"), bad.made)


if __name__ == "__main__":
    sp.main()
