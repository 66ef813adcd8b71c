"""Servers that are down for two minutes, at 50,000 values a second (reliability B1): what they missed
comes complete, in order and fast, and nobody else notices. SCOTTY_OUTAGE_SECONDS says how long they
are down.

All kinds of servers are down at the same time, and come up one after the other, so that each
has the machine to itself while it catches up. One stays up: the
other, who is not to notice.
"""
import os
import statistics
import time
import unittest

import ledger
import scottyd_proc as sp
import sinks
import tallies

# Sanitizers make all of it some ten times slower.
ENDPOINTS = 20 if sp.SANITIZED else 200
METRICS = 250
RATE = ENDPOINTS * METRICS  # values a second, to each writer
OUTAGE = float(os.environ.get("SCOTTY_OUTAGE_SECONDS") or (20 if sp.SANITIZED else 120))
BATCH = 10000
CATCH_UP = 5  # times the live rate
STORE_MIB = max(256, int(RATE * OUTAGE * 4) >> 20)
RSS_MORE_MIB = 96  # all that is not the store
LATE_MS = 100


class Outage(unittest.TestCase):
    def watch(self, scottyd, seconds):
        """Mean of the other writer's lag, and the most memory, over that time."""
        lags, rss, end = [], 0, time.monotonic() + seconds
        while time.monotonic() < end:
            lags.append(sinks.writer(scottyd, "other")["lagSeconds"])
            rss = max(rss, scottyd.status_kib("VmRSS"))
            time.sleep(0.1)
        return statistics.fmean(lags), rss >> 10

    def check_behind(self, scottyd, down):
        for tally in down:
            state = sinks.writer(scottyd, tally.kind)
            self.assertGreater(state["lagSeconds"], OUTAGE - 5 * sp.SLOW, state)
            self.assertGreater(state["retries"], 0, state)

    def catch_up(self, scottyd, tally, down_s):
        """Values a second, from the first that comes until what had waited is there; of the time
        that scottyd computes, if that is less: other tests take the processors too."""
        before, behind = tally.count(), RATE / min(2, sp.SLOW) * (down_s - 1)
        tally.up()
        # It would try again in its own time, within a minute.
        again = f"/api/writers/{tally.kind}/resume"
        self.assertEqual(sp.ask(scottyd.port, "POST", again).status, 204)
        sp.eventually(lambda: tally.count() > before, f"{tally.kind} tries again", 75)
        begin, cpu, first = time.monotonic(), scottyd.cpu_seconds(), tally.count() - before
        sp.eventually(lambda: tally.count() - before >= behind, f"{tally.kind} caught up",
                      OUTAGE + 30)
        return (behind - first) / min(time.monotonic() - begin, scottyd.cpu_seconds() - cpu)

    def check_complete(self, fleet, scottyd, servers):
        tallies.wait_complete(fleet, scottyd, servers, 120)
        for tally in servers:
            found, state = tally.figures(), sinks.writer(scottyd, tally.kind)
            self.assertEqual((found["series"], found["missing"], found["strays"]), (RATE, 0, 0),
                             found)
            self.assertEqual(tally.gaps(), [])
            self.assertEqual((state["missed"], state["refused"], state["unwritable"]), (0, 0, 0))
            # The batch that was under way when the server went may come again.
            self.assertLessEqual(found["doubled"], BATCH, found)
            self.assertEqual(found["values"], servers["influx"].count())
        print(f"{found['values']} values at each")

    def outage_is_made_up_for(self):
        self.doCleanups()  # of the measurement before
        servers = tallies.Servers((*tallies.KINDS, "influx"))
        self.addCleanup(servers.close)
        fleet = ledger.Fleet(ENDPOINTS, METRICS, 1)
        self.addCleanup(fleet.close)
        other = [one for one in servers if one.kind == "influx"][1]
        down = [one for one in servers if one is not other]
        writers = [one.element(BATCH) for one in down] + [other.element(BATCH, "other")]
        config = {**fleet.config(writers), "store": {"memory": f"{STORE_MIB}MiB"}}
        late_ms = lambda: fleet.sim.figures()["all", "good"]["p99_ms"]
        with sp.Scottyd(config, state=fleet.state) as scottyd:
            time.sleep(3 * sp.SLOW)
            late_ms()
            lag, _ = self.watch(scottyd, 15)
            late = late_ms()
            for tally in down:
                tally.down()
            begun = time.monotonic()
            lag_down, rss = self.watch(scottyd, OUTAGE)
            late_down = late_ms()
            self.check_behind(scottyd, down)
            rates = {}
            for tally in down:
                rate = self.catch_up(scottyd, tally, time.monotonic() - begun)
                rates[tally.kind] = round(rate / RATE, 1)
                rss = max(rss, scottyd.status_kib("VmRSS") >> 10)
            late_after = late_ms()
            print(f"catch-up {rates} x live; lag of the other {lag:.2f} s, {lag_down:.2f} s "
                  f"meanwhile; lateness p99 {late:g} ms, {late_down:g} ms meanwhile, "
                  f"{late_after:g} ms while they caught up; RSS {rss} MiB of {STORE_MIB} for the "
                  "store")
            scottyd.configure({**config, "endpoints": []})
            scottyd.reload()
            self.check_complete(fleet, scottyd, servers)
        if not sp.SANITIZED:
            self.assertLess(rss, STORE_MIB + RSS_MORE_MIB)
            sp.check_rate("least catch-up, times the live rate", min(rates.values()), CATCH_UP)
        # A writer that is done looks again after a second, and how that falls between the polls,
        # which come each second too, wanders: by half a second on average.
        sp.check_ms("lag of the other", lag_down * 1000, lag * 1100 / sp.SLOW + 500)
        sp.check_ms("lateness while they were down", late_down, max(LATE_MS, 1.1 * late))

    def test_an_outage_is_made_up_for_and_nobody_notices(self):
        sp.measure(self.outage_is_made_up_for, LATE_MS, 2)


if __name__ == "__main__":
    sp.main()
