"""More to poll than can be done in time: polls are skipped evenly, and nothing grows or stalls."""
import os
import time
import unittest

import scottyd_proc as sp

# 8 M values a second are asked of one processor, 4 M of one with sanitizers.
ENDPOINTS = 2000 if sp.SANITIZED else 4000
METRICS, PERIOD = 200, "100ms"
SECONDS = 15
UNEVEN = 1.5  # most polls of one endpoint to least
GROWTH_MIB = 24  # beyond what the store says it holds
HEALTH_MS = 100

# A fifth of this fleet hangs, which is more than there are connections.
CONNECTIONS = 50 if sp.SANITIZED else 500
MANY, HANGING = 6 * CONNECTIONS, 6 * CONNECTIONS // 5
LATE_MS = 100


class Overload(unittest.TestCase):
    def setUp(self):
        before = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, before)
        self.processors = sorted(before)[:2]

    def run_fleet(self, test, scottyd_on, flags, collection):
        """Calls test(scottyd, sim) with a fleet; the simulator has a processor to itself."""
        os.sched_setaffinity(0, scottyd_on)
        with sp.Scottyd({"store": {"memory": "2GiB"}}) as scottyd:
            os.sched_setaffinity(0, self.processors[:1])
            file = scottyd.config_file + ".sim"
            with sp.FleetSim("-addresses", "-base", str(sp.free_port()), *flags,
                             "-write-config", file) as sim:
                with open(file, encoding="ascii") as f:
                    config = f.read().replace("collection:", "collection:\n" + collection)
                scottyd.configure_raw(config + f"stateDir: {scottyd.state}\n"
                                      "store: {memory: 2GiB}\n")
                os.sched_setaffinity(0, self.processors)
                scottyd.reload()
                test(scottyd, sim)

    def wait_polled(self, scottyd, count):
        def polled():
            polls, failed = (scottyd.get_json(f"/metricsapi/collector/{name}")[0]["value"]
                             for name in ("polls", "failedPolls"))
            return polls - failed >= count
        sp.eventually(polled, "a first round", 60)

    def unaccounted(self, scottyd):
        """Bytes of memory that are not the store's."""
        held = scottyd.get_json("/metricsapi/store/bytesUsed")[0]["value"]
        return scottyd.status_kib("VmRSS") * 1024 - held

    def check_evenly_skipped(self, scottyd, sim):
        self.wait_polled(scottyd, 3 * ENDPOINTS)
        skipped = scottyd.get_json("/metricsapi/collector/skippedTicks")[0]["value"]
        memory, health_ms = self.unaccounted(scottyd), 0
        sim.figures()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            begin = time.monotonic()
            self.assertEqual(scottyd.get("/healthz").status, 200)
            health_ms = max(health_ms, (time.monotonic() - begin) * 1000)
            time.sleep(0.1)
        good = sim.figures()["all", "good"]
        growth = (self.unaccounted(scottyd) - memory) / 1048576
        lateness = scottyd.get_json("/metricsapi/collector/lateness")[0]["value"]
        skipped = scottyd.get_json("/metricsapi/collector/skippedTicks")[0]["value"] - skipped
        print(f"polls of one endpoint: {good['least']:.0f} to {good['most']:.0f}; {skipped} ticks "
              f"skipped, lateness at most {lateness['max']:.2f} s; /healthz in at most "
              f"{health_ms:.1f} ms; memory beyond the store's grew by {growth:.1f} MiB")
        self.assertGreater(good["least"], 0)
        # The ends of the while may cut one off.
        self.assertLessEqual(good["most"] - 1, UNEVEN * (good["least"] + 1))
        self.assertGreater(skipped, 0)
        self.assertGreater(lateness["max"], 0.1)
        self.assertEqual(scottyd.get_json("/api/errors/"), [])
        if not sp.SANITIZED:
            self.assertLess(growth, GROWTH_MIB)
        sp.check_ms("/healthz", health_ms, HEALTH_MS)

    def test_polls_are_skipped_evenly(self):
        sp.measure(lambda: self.run_fleet(
            self.check_evenly_skipped, self.processors[1:],
            ("-n", str(ENDPOINTS), "-metrics", str(METRICS), "-interval", PERIOD),
            "  threads: 1\n"), HEALTH_MS)

    def check_good_are_on_time(self, scottyd, sim):
        self.wait_polled(scottyd, MANY - HANGING)
        # The first round may be late: who hangs is known once its deadline has passed.
        sp.eventually(lambda: len(scottyd.get_json("/api/errors/")) == HANGING, "errors", 30)
        time.sleep(3)
        before = sum(e["skippedTicks"] for e in scottyd.endpoints().values() if not e["down"])
        sim.figures()
        time.sleep(SECONDS)
        good = sim.figures()["all", "good"]
        endpoints = scottyd.endpoints()
        print(f"good endpoints: {good}")
        self.assertEqual(sum(e["down"] for e in endpoints.values()), HANGING)
        sp.check_ticks([e for e in endpoints.values() if not e["down"]], before)
        sp.check_polls(good, SECONDS // 2 - 1)
        sp.check_ms("period of the good ones is off by", good["p99_ms"], LATE_MS)

    def test_more_hanging_endpoints_than_connections(self):
        sp.measure(lambda: self.run_fleet(
            self.check_good_are_on_time, self.processors[1:],
            ("-n", str(MANY), "-metrics", "20", "-interval", "2s", "-hang", str(HANGING)),
            f"  threads: 1\n  connections: {CONNECTIONS}\n  pollTimeout: 3s\n"), LATE_MS)


if __name__ == "__main__":
    sp.main()
