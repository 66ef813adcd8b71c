"""The wall clock jumps: an hour ahead, an hour back, ten years ahead; or it stands still. Or the
machine sleeps for a while.

Schedules go by the monotonic clock, time stamps of a series never go back, and nothing is given up
or called stale for it.
"""
import os
import signal
import struct
import tempfile
import time
import unittest

import scottyd_proc as sp

HOUR_S = 3600
INTERVAL_S = 0.1
ENDPOINTS = 20
SHIM = os.path.join(sp.BIN, "clock_shim.so")


class Clock:
    """What the shim adds to the wall clock of who runs with its prefix."""

    def __init__(self):
        fd, self.path = tempfile.mkstemp(prefix="scottyd-clock-")
        os.write(fd, bytes(16))
        os.close(fd)
        self.prefix = ["env", f"LD_PRELOAD={SHIM}", f"SCOTTY_CLOCK_FILE={self.path}",
                       "ASAN_OPTIONS=verify_asan_link_order=0"]

    def set(self, add_s=0, stands_s=0):
        # In one write, so that no half of it is seen.
        with open(self.path, "r+b", buffering=0) as f:
            f.write(struct.pack("<qq", int(add_s * 1e9), int(stands_s * 1e9)))

    def close(self):
        os.unlink(self.path)


class Clocked(unittest.TestCase):
    STALE_S = 3

    def setUp(self):
        self.clock = Clock()
        self.addCleanup(self.clock.close)
        # Without a time stamp of its own, a metric gets scottyd's.
        self.endpoint = sp.Endpoint(self.metrics(0))
        self.addCleanup(self.endpoint.close)
        elements = [self.endpoint.element(f"h{i}", "app") for i in range(ENDPOINTS)]
        elements.append({"host": "own", "app": "self", "source": "self", "interval": "100ms"})
        config = {"endpoints": elements, "collection": {"staleAfter": f"{self.STALE_S}s"}}
        self.scottyd = sp.Scottyd(config, prefix=self.clock.prefix)
        self.addCleanup(self.scottyd.__exit__, None, None, None)
        sp.eventually(lambda: self.scottyd.value("h0", "app", "/n") == 0, "first value")
        self.number = 0

    @staticmethod
    def metrics(number):
        metrics = [sp.metric("/n", "int32", number, bits=32), sp.metric("/same", "int32", 7, bits=32)]
        for metric in metrics:
            del metric["timestamp"]
        return metrics

    def stamps(self, host="h0", app="app", path="/n"):
        """Times of the values held, newest first."""
        values = self.scottyd.get_json(f"/api/hosts/{host}/{app}{path}?history=9999999")
        return [float(v["timestamp"]) for v in values[0]["values"]] if values else []

    def newest(self, host, app, path):
        metrics = self.scottyd.get_json(f"/api/latest{path}")
        return [m for m in metrics if m["hostName"] == host and m["appName"] == app][0]

    def polls_come_at_their_time(self, what):
        """Too few in a second may be the endpoint's doing, beside other tests; too many never."""
        begin, cpu = self.endpoint.requests, self.scottyd.cpu_seconds()
        started = time.monotonic()
        time.sleep(1)
        took = time.monotonic() - started
        polls = self.endpoint.requests - begin
        expected = ENDPOINTS * took / INTERVAL_S
        self.assertLess(polls, 1.3 * expected, what)
        self.assertLess(self.scottyd.cpu_seconds() - cpu, 0.5 * sp.SLOW, what)
        return sp.SANITIZED or polls > 0.7 * expected

    def check_goes_on(self, what):
        """Polls come as before, new values are kept with later stamps, all is active."""
        before = float(self.newest("h0", "app", "/n")["timestamp"])
        self.number += 1
        self.endpoint.publish(self.metrics(self.number))
        sp.eventually(lambda: self.polls_come_at_their_time(what), what, 15)
        for i in range(ENDPOINTS):
            newest = lambda: self.newest(f"h{i}", "app", "/n")
            sp.eventually(lambda: newest()["value"] == self.number, what)
            self.assertGreater(float(newest()["timestamp"]), before, what)
        # Markers of series that ended would be among the values too.
        endpoints = self.scottyd.endpoints()
        self.assertEqual(len(endpoints), ENDPOINTS + 1, what)
        for name, endpoint in endpoints.items():
            self.assertTrue(endpoint["active"] and not endpoint["stale"], (what, name))
        own = self.newest("own", "self", "/collector/polls")
        self.assertGreater(float(own["timestamp"]), before, what)

    def check_stamps(self):
        stamps = self.stamps()
        self.assertEqual(stamps, sorted(stamps, reverse=True))
        self.assertEqual(len(stamps), len(set(stamps)))
        # One for each value, none of them an end of the series.
        self.assertEqual(len(stamps), self.number + 1)


class Jumps(Clocked):
    def test_the_clock_jumps_about(self):
        year = 365 * 86400
        self.check_goes_on("as it is")
        for what, add_s in (("an hour ahead", HOUR_S), ("back again", 0),
                            ("an hour back", -HOUR_S), ("ten years ahead", 10 * year),
                            ("and back", 0)):
            self.clock.set(add_s)
            self.check_goes_on(what)
        self.clock.set(stands_s=time.time())
        self.check_goes_on("stands still")
        # Beyond staleAfter, while it does not move.
        time.sleep(3.5)
        self.check_goes_on("still stands still")
        self.clock.set(11 * year)
        self.check_goes_on("ahead of all")
        self.check_stamps()
        reclaimed = self.newest("own", "self", "/store/reclaimedPages")["value"]
        self.assertEqual(int(reclaimed), 0)

    def test_a_silent_endpoint_becomes_stale_by_the_time_that_passes(self):
        self.clock.set(-HOUR_S)
        self.endpoint.publish(b"no answer to speak of")
        begin = time.monotonic()
        stale = lambda: self.scottyd.endpoints()["h0", "app"]["stale"]
        sp.eventually(stale, "stale", 8)
        self.assertGreater(time.monotonic() - begin, 2)


class Sleep(Clocked):
    """A machine that is suspended, as its processes see it: they stood still, and the wall clock
    went on. (Linux' monotonic clock stands still meanwhile, too; here it does not, which is more
    than what must be borne.)"""

    STALE_S = 60  # more than the sleep
    SLEEP_S = 20

    def sleep(self, wall_s):
        begin, cpu = self.endpoint.requests, self.scottyd.cpu_seconds()
        self.scottyd.child.send_signal(signal.SIGSTOP)
        time.sleep(self.SLEEP_S)
        self.clock.set(wall_s - self.SLEEP_S)
        asleep = self.endpoint.requests
        awake = time.monotonic()
        self.scottyd.child.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        polls, took = self.endpoint.requests - asleep, time.monotonic() - awake
        # What was under way, and what came since: the ticks in between are not made up for.
        self.assertLess(asleep - begin, 3 * ENDPOINTS)
        self.assertLess(polls, (1 + took / INTERVAL_S * 1.3) * ENDPOINTS)
        self.assertLess(self.scottyd.cpu_seconds() - cpu, 0.4 * sp.SLOW)

    def test_sleep_of_five_minutes(self):
        self.check_goes_on("before")
        skipped = self.newest("own", "self", "/collector/skippedTicks")["value"]
        before = float(self.newest("h0", "app", "/n")["timestamp"])
        self.sleep(300)
        self.check_goes_on("awake")
        self.assertGreater(float(self.newest("h0", "app", "/n")["timestamp"]), before + 290)
        self.check_stamps()
        skipped = self.newest("own", "self", "/collector/skippedTicks")["value"] - skipped
        print(f"skipped ticks of {ENDPOINTS} endpoints in {self.SLEEP_S} s: {skipped}")


if __name__ == "__main__":
    sp.main()
