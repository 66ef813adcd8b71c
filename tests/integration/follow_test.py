"""Writers read on in sealed history where memory ends: reliability.md A2 and B1 with so little
memory that most of an outage is only on disk.

SCOTTY_OUTAGE_SECONDS says how long the sink is down.
"""
import os
import time
import unittest

import ledger
import scottyd_proc as sp
import sinks
from durability_test import BATCH, SOON, Durable

ENDPOINTS, METRICS, INTERVAL_S = 100, 600, 3
OUTAGE = float(os.environ.get("SCOTTY_OUTAGE_SECONDS") or 24) * sp.SLOW
# Room for some five seconds beside the newest values, on one processor: each that polls or restores
# needs some for itself.
MEMORY = "1100KiB"
ONE = ("taskset", "-c", str(min(os.sched_getaffinity(0))))


class Follow(Durable):
    def metric(self, scottyd, path):
        return scottyd.get_json("/metricsapi" + path)[0]["value"]

    def test_what_memory_gave_up_comes_from_disk(self):
        """Down, killed in the middle, and up again."""
        fleet, sink = self.fleet(ENDPOINTS, METRICS, INTERVAL_S), self.recorder()
        other = ledger.Lines(fleet.directory)
        writers = [sinks.influx(sink.port, batch=BATCH), other.element(batch=BATCH)]
        one = ledger.Ledger(fleet, sink, BATCH)
        config = fleet.config(writers, memory=MEMORY, journalSegment="2s")
        one.run_begins()
        scottyd = self.start(config, fleet.state, flags=SOON, prefix=ONE)
        self.wait_for_values(fleet, sink)
        sink.down()
        time.sleep(OUTAGE / 2)
        killed_ns = self.kill(scottyd)
        one.run_begins(killed_ns)
        scottyd = self.start(config, fleet.state, flags=SOON, prefix=ONE)
        time.sleep(OUTAGE / 2)
        state = sinks.writer(scottyd)
        self.assertEqual(state["missed"], 0)
        begin, sent = sink.count(), time.monotonic()
        lag = sinks.writer(scottyd, "file")["lagSeconds"]
        sink.up()
        sp.eventually(lambda: sink.count() >= begin + state["valuesNotWritten"], "caught up", 90)
        rate = state["valuesNotWritten"] / (time.monotonic() - sink.requests[0][0])
        print(f"down for {time.monotonic() - sent:.1f} s more; {state['valuesNotWritten']} values "
              f"behind; caught up at {rate:.0f}/s; lag of the other "
              f"{lag:.2f} s, then {sinks.writer(scottyd, 'file')['lagSeconds']:.2f} s")
        shares = self.metric(scottyd, "/history/followed")
        print(f"{shares} shares of endpoints read from disk")
        # Most of the outage, of each endpoint: in files of 2 s. Sanitizers poll less.
        if not sp.SANITIZED:
            self.assertGreater(shares, len(fleet.hosts) * OUTAGE / INTERVAL_S / 2)
        polled = self.drain(fleet, scottyd, config, ("w", "file"))
        one.wait_for(polled)
        one.check({})
        print(f"{sink.count()} values arrived, {one.doubled} twice; {one.missing} before the kill "
              "were not accepted")
        self.assertEqual([sinks.writer(scottyd, name)["missed"] for name in ("w", "file")], [0, 0])


if __name__ == "__main__":
    sp.main()
