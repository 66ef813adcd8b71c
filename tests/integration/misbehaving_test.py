"""Good endpoints keep their period next to bad ones of every kind, and only those are errors."""
import time
import unittest

import bad_endpoints as bad
import scottyd_proc as sp

GOOD = 60
SIMULATED = ["hang", "drip", "refuse", "500", "cut", "garbage", "huge"]
PERIOD = 1
SECONDS = 12
MAX_RESPONSE_MIB = 4

# What is said of each.
ADDRESS = r"127\.0\.0\.1:\d+"
URL = rf"^http://{ADDRESS}/metricsapi/: "
TEXTS = {
    "hang": rf"poll of {ADDRESS}: timed out after 1 s",
    "drip": rf"poll of {ADDRESS}: timed out after 1 s",
    "refuse": rf"{URL}connect to {ADDRESS}: Connection refused",
    "500": rf"{URL}answered 500 Internal Server Error",
    "cut": rf"{URL}answer cut off after \d+ of \d+ bytes",
    "garbage": rf"{URL}not a list of metrics at byte 0",
    "huge": rf"{URL}answer larger than {MAX_RESPONSE_MIB} MiB",
    "black hole": rf"connect to {ADDRESS}: timed out after 1 s",
    "reset": rf"{URL}connection reset after \d+ bytes",
    "redirect": rf"{URL}answered 302 to http://{ADDRESS}/metricsapi/; redirects are not followed",
    "truncated": rf"{URL}not JSON at byte \d+",
    "bomb": rf"{URL}answer larger than {MAX_RESPONSE_MIB} MiB",
    "no http": rf"answer from {ADDRESS}: .*HTTP",
    "endless head": r"headers of the answer larger than \d+ KiB",
}
LATE_MS = 100
WAYS = {"reset": bad.reset, "redirect": bad.redirect, "truncated": bad.truncated, "bomb": bad.bomb,
        "no http": bad.no_http, "endless head": bad.endless_head}


class Misbehaving(unittest.TestCase):
    def start_fleet(self):
        n = GOOD + len(SIMULATED)
        base = sp.free_port(count=n)
        flags = ["-n", str(n), "-metrics", "100", "-base", str(base), "-interval", f"{PERIOD}s"]
        for way in SIMULATED:
            flags += [f"-{way}", "1"]
        self.sim = sp.FleetSim(*flags)
        self.addCleanup(self.sim.__exit__, None, None, None)
        self.endpoints = [self.element(f"sim{i:05d}", base + i) for i in range(n)]
        # Host names of the bad ones by what they do.
        self.bad = {way: f"sim{GOOD + i:05d}" for i, way in enumerate(SIMULATED)}
        for way, act in WAYS.items():
            self.add_bad(way, bad.BadEndpoint(act))
        self.add_bad("black hole", bad.BlackHole())

    def add_bad(self, way, endpoint):
        self.addCleanup(endpoint.close)
        self.bad[way] = way.replace(" ", "-")
        self.endpoints.append(self.element(self.bad[way], endpoint.port))

    def element(self, host, port):
        return {"host": host, "app": "sim", "address": "127.0.0.1", "port": port,
                "interval": f"{PERIOD}s"}

    def check_errors(self, scottyd):
        """Returns True once exactly the bad ones are named, each with its text."""
        errors = {e["hostName"]: e["error"] for e in scottyd.get_json("/api/errors/")}
        if sorted(errors) != sorted(self.bad.values()):
            return False
        for way, host in self.bad.items():
            self.assertRegex(errors[host], TEXTS[way], way)
        return True

    def check_nothing_was_taken_in(self, scottyd):
        for way, host in self.bad.items():
            self.assertEqual(scottyd.get_json(f"/api/hosts/{host}/sim"), [], way)
        latest = {m["hostName"] for m in scottyd.get_json("/api/latest/")}
        self.assertEqual(len(latest), GOOD)

    def check_states(self, scottyd):
        endpoints = scottyd.endpoints()
        for host in self.bad.values():
            self.assertTrue(endpoints[host, "sim"]["down"], host)
        for i in range(GOOD):
            one = endpoints[f"sim{i:05d}", "sim"]
            self.assertFalse(one["down"])
            self.assertEqual((one["metricCount"], one["badMetrics"]), (100, 0))
            sp.check_ticks([one])

    def good_endpoints_keep_their_period(self):
        self.doCleanups()  # of the measurement before
        self.start_fleet()
        config = {"endpoints": self.endpoints,
                  "collection": {"connectTimeout": "1s", "pollTimeout": "1s",
                                 "maxResponse": f"{MAX_RESPONSE_MIB}MiB"}}
        with sp.Scottyd(config) as scottyd:
            sp.eventually(lambda: self.check_errors(scottyd), "errors of the bad ones")
            rss, threads = scottyd.status_kib("VmRSS"), scottyd.status_kib("Threads")
            time.sleep(SECONDS)
            self.assertTrue(self.check_errors(scottyd))
            self.check_nothing_was_taken_in(scottyd)
            self.check_states(scottyd)
            self.assertEqual(scottyd.status_kib("Threads"), threads)
            self.assertLess(scottyd.open_files(), len(self.endpoints) + 100)
            peak = scottyd.status_kib("VmHWM")
            print(f"RSS {rss} KiB after the first round, {scottyd.status_kib('VmRSS')} at the end, "
                  f"at most {peak}")
            if not sp.SANITIZED:
                # What answers may take at once, on top of a daemon that polls the good ones only.
                self.assertLess(peak, 1024 * (50 + len(self.bad) * (MAX_RESPONSE_MIB + 1)))
            stats = self.sim.stop()
        good = stats["all", "good"]
        print(f"good endpoints: {good}")
        sp.check_polls(good, SECONDS // PERIOD)
        sp.check_ms("period of the good ones is off by", good["p99_ms"], LATE_MS)

    def test_good_endpoints_keep_their_period(self):
        sp.measure(self.good_endpoints_keep_their_period, LATE_MS)


if __name__ == "__main__":
    sp.main()
