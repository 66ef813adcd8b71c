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

OUTAGE = float(os.environ.get("SCOTTY_OUTAGE_SECONDS") or 20) * sp.SLOW
# What is polled in that time, and what memory has room for, in seconds.
MEMORY = os.environ.get("SCOTTY_FOLLOW_MEMORY") or "4MiB"
HELD_S = 10 * sp.SLOW


class Follow(Durable):
    def held_seconds(self, scottyd):
        """So far back memory reaches."""
        return scottyd.get_json("/metricsapi/store/availablePages")

    def metric(self, scottyd, path):
        return scottyd.get_json("/metricsapi" + path)[0]["value"]

    def test_what_memory_gave_up_comes_from_disk(self):
        fleet, sink = self.fleet(), self.recorder()
        file = ledger.Lines(fleet.directory)
        writers = [sinks.influx(sink.port, batch=BATCH), file.element(batch=BATCH)]
        ledgers = [ledger.Ledger(fleet, sink, BATCH), ledger.Ledger(fleet, file, BATCH)]
        config = fleet.config(writers, memory=MEMORY, journalSegment="2s")
        for one in ledgers:
            one.run_begins()
        scottyd = self.start(config, fleet.state, flags=SOON)
        self.wait_for_values(fleet, sink)
        sink.down()
        time.sleep(OUTAGE / 2)
        killed_ns = self.kill(scottyd)
        for one in ledgers:
            one.run_begins(killed_ns)
        scottyd = self.start(config, fleet.state, flags=SOON)
        time.sleep(OUTAGE / 2)
        print(scottyd.get("/metricsapi/store").body)
        state = sinks.writer(scottyd)
        print(state)
        begin, backlog = sink.count(), state["valuesNotWritten"]
        sink.up()
        since = time.monotonic()
        sp.eventually(lambda: sink.count() - begin >= backlog, "caught up", 90)
        print(f"{backlog} values, {backlog / (time.monotonic() - since):.0f}/s")
        time.sleep(1)
        until = self.drain(scottyd, config, ("w", "file"))
        times = {}
        for one in ledgers:
            one.check(times, polled_until_ns=until - 2e9 * fleet.interval_s)
            print(f"{type(one.sink).__name__}: {one.sink.count()} values arrived, {one.doubled} "
                  f"twice; {one.missing} before the kill were not accepted")
        self.assertEqual([sinks.writer(scottyd, name)["missed"] for name in ("w", "file")], [0, 0])


if __name__ == "__main__":
    sp.main()
