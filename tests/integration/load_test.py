"""1,000 endpoints of 200 metrics every 10 s, on two processors: no poll is skipped or late."""
import os
import time
import unittest

import scottyd_proc as sp

# Sanitizers make all of it some ten times slower.
ENDPOINTS = 200 if sp.SANITIZED else 1000
METRICS, PERIOD = 200, 10
SECONDS = 35
CPU_MAX = 0.30  # of one core
LATE_MS = 100
STOP_SECONDS = 2
BAD = {"hang": 5, "drip": 3, "refuse": 4, "500": 4, "cut": 2, "garbage": 2}  # of 200


class Load(unittest.TestCase):
    def run_fleet(self, bad):
        """Polls a fleet for SECONDS; returns statistics, endpoints, errors, share of a core."""
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # children inherit it
        addresses = ["-addresses", "-base", str(sp.free_port())]
        flags = [flag for way, count in bad.items() for flag in (f"-{way}", str(count))]
        with sp.Scottyd({}) as scottyd, \
             sp.FleetSim("-n", str(ENDPOINTS), "-metrics", str(METRICS), "-interval", f"{PERIOD}s",
                         *addresses, *flags, "-write-config", scottyd.config_file + ".sim") as sim:
            with open(scottyd.config_file + ".sim", encoding="ascii") as f:
                config = f.read()
            config = config.replace("collection:", "collection:\n  connectTimeout: 2s\n"
                                    "  pollTimeout: 2s\n  threads: 2")
            scottyd.configure_raw(config + f"stateDir: {scottyd.state}\nstore: {{memory: 256MiB}}\n")
            cpu = scottyd.cpu_seconds()
            begin = time.monotonic()
            scottyd.reload()
            time.sleep(SECONDS)
            share = (scottyd.cpu_seconds() - cpu) / (time.monotonic() - begin)
            endpoints = scottyd.endpoints()
            errors = scottyd.get_json("/api/errors/")
            rss = scottyd.status_kib("VmRSS")
            code, stop_seconds = scottyd.stop()
            self.assertEqual(code, 0)
            self.assertLess(stop_seconds, STOP_SECONDS * sp.SLOW)
            print(f"CPU {share:.1%} of a core, RSS {rss} KiB, stopped in {stop_seconds:.2f} s")
            stats = sim.stop()
        print(f"good endpoints: {stats['all', 'good']}")
        return stats, endpoints, errors, share

    def check_good(self, stats, endpoints):
        good = stats["all", "good"]
        self.assertGreaterEqual(good["least"], SECONDS // PERIOD)
        sp.check_ms("lateness of the good ones", good["p99_ms"], LATE_MS)
        names = [name for name, behaviour in stats if behaviour == "good" and name != "all"]
        for name in names:
            one = endpoints[name, "sim"]
            self.assertEqual((one["down"], one["metricCount"]), (False, METRICS), one)
            sp.check_ticks([one])
        return names

    def good_fleet(self):
        stats, endpoints, errors, share = self.run_fleet({})
        self.assertEqual(len(self.check_good(stats, endpoints)), ENDPOINTS)
        self.assertEqual(errors, [])
        if not sp.SANITIZED:
            self.assertLess(share, CPU_MAX)

    def one_in_ten_is_bad(self):
        bad = {way: count * ENDPOINTS // 200 for way, count in BAD.items()}
        stats, endpoints, errors, _ = self.run_fleet(bad)
        good = self.check_good(stats, endpoints)
        self.assertEqual(len(good), ENDPOINTS - sum(bad.values()))
        names = {host for host, _ in endpoints} - set(good)
        self.assertEqual({e["hostName"] for e in errors}, names)

    def test_good_fleet(self):
        sp.measure(self.good_fleet, LATE_MS)

    def test_one_in_ten_is_bad(self):
        sp.measure(self.one_in_ten_is_bad, LATE_MS)


if __name__ == "__main__":
    sp.main()
