"""1,000 SNMP agents of 100 objects every 10 s, on one processor: no poll is skipped or late."""
import os
import time
import unittest

import scottyd_proc as sp
import snmp_agents as agents

AGENTS = 200 if sp.SANITIZED else 1000
PERIOD, SECONDS = 10, 35
OBJECTS = 100
LATE_MS = 100
CPU_US_MAX = 3  # an object; the figure is in docs/benchmarks.md, this is for a busy machine


class Load(unittest.TestCase):
    def run_fleet(self, dead):
        config = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"snmp-load-{os.getpid()}.yaml")
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # children inherit it
        with sp.Scottyd({}) as scottyd, \
             agents.Sim(AGENTS, "-interval", f"{PERIOD}s", "-dead", str(dead), "-write-config",
                        config) as sim:
            with open(config, encoding="ascii") as f:
                text = f.read().replace("collection:", "collection:\n  threads: 1")
            os.remove(config)
            scottyd.configure_raw(
                text + f"stateDir: {scottyd.state}\nstore: {{memory: 256MiB}}\nmdbFile: ''\n")
            scottyd.reload()
            time.sleep(PERIOD + 1)  # the first polls make all series
            cpu, begin = scottyd.cpu_seconds(), time.monotonic()
            time.sleep(SECONDS - PERIOD - 1)
            cpu, seconds = scottyd.cpu_seconds() - cpu, time.monotonic() - begin
            endpoints = scottyd.endpoints()
            files = scottyd.open_files()
            stats = sim.stop()
            print(f"CPU {cpu / seconds:.2%} of a core, "
                  f"{cpu / seconds * PERIOD / (AGENTS - dead) / OBJECTS * 1e6:.2f} us an object, "
                  f"{scottyd.status_kib('VmRSS')} KiB, {files} files; {stats['good']}")
            self.assertLess(files, 100)
            return stats, endpoints, cpu / seconds

    def check_good(self, stats, endpoints, dead):
        good = [e for (host, _), e in endpoints.items() if int(host[5:]) < AGENTS - dead]
        self.assertEqual(len(good), AGENTS - dead)
        for one in good:
            self.assertFalse(one["down"], one)
            self.assertGreaterEqual(one["metricCount"], OBJECTS)
        sp.check_ticks(good)
        sp.check_polls(stats["good"], SECONDS // PERIOD - 1)
        sp.check_ms("period of the good ones is off by", stats["good"]["p99_ms"], LATE_MS)

    def good_agents(self):
        stats, endpoints, share = self.run_fleet(0)
        self.check_good(stats, endpoints, 0)
        if not sp.SANITIZED:
            self.assertLess(share * PERIOD / AGENTS / OBJECTS * 1e6, CPU_US_MAX)

    def one_in_ten_is_dead(self):
        dead = AGENTS // 10
        stats, endpoints, _ = self.run_fleet(dead)
        self.check_good(stats, endpoints, dead)
        down = [e for e in endpoints.values() if e["down"]]
        self.assertEqual(len(down), dead)
        self.assertIn("timed out after 4 tries", down[0]["error"])

    def test_good_agents(self):
        sp.measure(self.good_agents, LATE_MS)

    def test_one_in_ten_is_dead(self):
        sp.measure(self.one_in_ten_is_dead, LATE_MS)


if __name__ == "__main__":
    sp.main()
