"""A server that is down for a while, at 50,000 values a second (reliability B1): what it missed comes
complete, in order and fast, and nobody else notices. SCOTTY_OUTAGE_SECONDS says how long it is down.
"""
import os
import statistics
import time
import unittest

import scottyd_proc as sp
import sinks

# Sanitizers make all of it some ten times slower.
ENDPOINTS = 5 if sp.SANITIZED else 50
METRICS = 1000
RATE = ENDPOINTS * METRICS  # values a second
OUTAGE = float(os.environ.get("SCOTTY_OUTAGE_SECONDS") or 20)
CATCH_UP = 5   # times the live rate
STORE_MIB = max(256, int(RATE * OUTAGE * 16) >> 20)
RSS_MORE_MIB = 96  # all that is not the store
LATE_MS = 100


class Outage(unittest.TestCase):
    def watch(self, scottyd, seconds):
        """Means of the other writer's lag, and the most memory, over that time."""
        lags, rss, end = [], 0, time.monotonic() + seconds
        while time.monotonic() < end:
            lags.append(sinks.writer(scottyd, "other")["lagSeconds"])
            rss = max(rss, scottyd.status_kib("VmRSS"))
            time.sleep(0.1)
        return statistics.fmean(lags), rss

    def catch_up(self, scottyd, sink):
        """Values a second, from the first that comes until what had waited is there."""
        before, backlog = len(sink.taken), 0
        sink.up()
        while len(sink.taken) == before:  # until it tries again
            backlog = sinks.writer(scottyd)["valuesNotWritten"]
            time.sleep(0.05)
        sp.eventually(lambda: sinks.writer(scottyd)["lagSeconds"] < 4 * sp.SLOW, "caught up",
                      OUTAGE * sp.SLOW + 30)
        begin, _ = sink.taken[before]
        values = 0
        for at, body in sink.taken[before + 1:]:
            values += body.count(b"\n")
            if values >= backlog * 0.9:
                return values / (at - begin)
        return self.fail("what had waited did not come")

    def check_complete(self, sink, other):
        """Every series is there with every time, each later than the one before."""
        series = {}
        for _, body in sink.taken:
            for line in body.splitlines():
                head, _, when = line.rpartition(b" ")
                name = head[:head.index(b" ")]
                series.setdefault(name, []).append(int(when))
        self.assertEqual(len(series), RATE)
        doubles = 0
        for name, times in series.items():
            rising = sorted(set(times))
            doubles += len(times) - len(rising)
            if len(times) == len(rising):
                self.assertEqual(times, rising, name)
        # A batch that was under way when the server went may come again.
        self.assertLessEqual(doubles, 10000)
        values = sum(len(set(times)) for times in series.values())
        self.assertEqual(values, other["valuesWritten"])
        print(f"{values} values, {doubles} twice")

    def run_outage(self):
        sink, other = sinks.Acknowledger(keeps=True), sinks.Acknowledger()
        self.addCleanup(other.close)
        self.addCleanup(sink.close)
        base = sp.free_port()
        endpoints = [{"host": f"web{i}", "app": "sim", "address": "127.0.0.1", "port": base + i,
                      "interval": "1s"} for i in range(ENDPOINTS)]
        config = {"store": {"memory": f"{STORE_MIB}MiB"},
                  "writers": [sinks.influx(sink.port, batch=10000, gzip=False),
                              sinks.influx(other.port, "other", batch=10000, gzip=False)]}
        with sp.FleetSim("-n", str(ENDPOINTS), "-metrics", str(METRICS), "-base", str(base),
                         "-interval", "1s") as sim, \
             sp.Scottyd({**config, "endpoints": endpoints}) as scottyd:
            time.sleep(3 * sp.SLOW)
            sim.figures()
            lag, _ = self.watch(scottyd, 15)
            late = sim.figures()["all", "good"]["p99_ms"]
            sink.down()
            lag_down, rss = self.watch(scottyd, OUTAGE)
            state = sinks.writer(scottyd)
            self.assertEqual(state["state"], "retrying", state)
            self.assertGreater(state["valuesNotWritten"], RATE * (OUTAGE - 5) / sp.SLOW)
            rate = self.catch_up(scottyd, sink)
            rss = max(rss, scottyd.status_kib("VmRSS"))
            late_down = sim.figures()["all", "good"]["p99_ms"]
            print(f"catch-up {rate:.0f} values/s, {rate / RATE:.1f} x live; lag of the other "
                  f"{lag:.2f} s, {lag_down:.2f} s meanwhile; lateness p99 {late:g} ms, "
                  f"{late_down:g} ms meanwhile; RSS {rss >> 10} MiB of {STORE_MIB} for the store")
            scottyd.configure(config)
            scottyd.reload()
            for name in ("w", "other"):
                sp.eventually(lambda: sinks.writer(scottyd, name)["valuesNotWritten"] == 0 and
                              sinks.writer(scottyd, name)["state"] == "idle", "all written", 30)
            time.sleep(1.5)
            ours, theirs = sinks.writer(scottyd), sinks.writer(scottyd, "other")
        self.assertEqual((ours["missed"], ours["refused"], theirs["missed"]), (0, 0, 0))
        self.check_complete(sink, theirs)
        if not sp.SANITIZED:
            self.assertGreaterEqual(rate / RATE, CATCH_UP)
            self.assertLess(rss >> 10, STORE_MIB + RSS_MORE_MIB)
        # A writer that is done looks again after a second, and how that falls between the polls,
        # which come each second too, wanders: by half a second on average.
        self.assertLess(lag_down, lag * 1.1 + 0.5 * sp.SLOW)
        sp.check_ms("lateness while it was down", late_down, max(LATE_MS, 1.1 * late))

    def test_an_outage_is_made_up_for_and_nobody_notices(self):
        sp.measure(self.run_outage, LATE_MS)


if __name__ == "__main__":
    sp.main()
