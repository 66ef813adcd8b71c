"""Writers of every kind at once, into servers that fail and are down, while scottyd is killed and
started again (reliability A1, A2, B1 to B3): all arrives, in order, at most a batch of it twice for
each failure."""
import os
import random
import time
import unittest

import ledger
import scottyd_proc as sp
import sinks
import tallies

BATCH = 1000
LARGE_BATCH = 5000  # at a high rate
KILLS = 20 if not sp.SANITIZED else 6
DOWN_S = 60 if not sp.SANITIZED else 20  # after the last kill
# What comes goes on at once, so that a kill meets writers at work.
SOON = ("-pstoreUpdateFrequency", "100ms")
LOSE_S = 1  # what was polled so long before a kill need not have been accepted


class Recovery(unittest.TestCase):
    def open(self, kinds, endpoints, metrics, interval_s, files=1):
        fleet = ledger.Fleet(endpoints, metrics, interval_s)
        self.addCleanup(fleet.close)
        paths = [os.path.join(fleet.directory, f"lines{i}") for i in range(files)]
        servers = tallies.Servers(kinds, paths)
        self.addCleanup(servers.close)
        return fleet, servers

    def start(self, config, fleet):
        scottyd = sp.Scottyd(config, *SOON, state=fleet.state)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        return scottyd

    def end_polling(self, scottyd, config):
        scottyd.configure({**config, "endpoints": []})
        scottyd.reload()

    def wait_for_more(self, servers, values, what):
        """Until so many more came to each."""
        before = {one.kind: one.count() for one in servers}
        sp.eventually(lambda: all(one.count() >= before[one.kind] + values for one in servers),
                      what, 75)

    def check(self, fleet, scottyd, servers, doubled, kills=()):
        """All is there. doubled: {kind: how many may be at most}."""
        tallies.wait_complete(fleet, scottyd, servers, 180)
        for one in servers.files:
            state = sinks.writer(scottyd, one.kind)
            sp.eventually(lambda: state["state"] == "idle", "file is written", 20)
            one.read()
        tallies.wait_complete(fleet, scottyd, servers.files, 1)
        values = set()
        for one in (*servers, *servers.files):
            found, state = one.figures(), sinks.writer(scottyd, one.kind)
            self.assertEqual((found["series"], found["strays"]),
                             (len(fleet.hosts) * fleet.metrics, 0), (one.kind, found))
            self.assertEqual((state["missed"], state["refused"], state["unwritable"]), (0, 0, 0),
                             state)
            self.assertLessEqual(found["doubled"], doubled[one.kind], (one.kind, found))
            self.check_gaps(fleet, one, kills)
            # What was lost with a kill may have come to some of them before.
            values.add(found["values"] + found["missing"])
            print(f"{one.kind}: {found['values']} values, {found['doubled']} twice, "
                  f"{found['missing']} that were not accepted before a kill")
        self.assertEqual(len(values), 1, values)

    def check_gaps(self, fleet, tally, kills):
        lose_ns = (LOSE_S + fleet.interval_s) * 1e9
        for before, after in tally.gaps():
            # Times may be in whole seconds.
            self.assertTrue(any(killed - lose_ns - 1e9 <= before and after >= killed - 1e9
                                for killed in kills), (tally.kind, before, after, kills))


class Killed(Recovery):
    """At 50,000 values a second to each writer."""

    def begin(self):
        fleet, servers = self.open(tallies.KINDS, 200 if not sp.SANITIZED else 20, 125, 0.5)
        writers = [one.element(LARGE_BATCH) for one in (*servers, *servers.files)]
        self.kills, self.config, self.fleet, self.servers = [], fleet.config(writers), fleet, servers
        scottyd = self.start(self.config, fleet)
        self.wait_for_more(servers, 2 * len(fleet.hosts) * fleet.metrics, "it begins")
        return scottyd

    def restart(self, scottyd):
        """Killed, and started again."""
        self.kills.append(time.time_ns())
        scottyd.kill()
        scottyd.check_log()
        return self.start(self.config, self.fleet)

    def end(self, scottyd):
        self.wait_for_more(self.servers, 1, "it goes on")
        self.end_polling(scottyd, self.config)
        doubled = {one.kind: LARGE_BATCH * len(self.kills) for one in self.servers}
        doubled["file"] = LARGE_BATCH * len(self.kills)
        self.check(self.fleet, scottyd, self.servers, doubled, self.kills)

    def test_killed_while_all_are_up(self):
        """A1"""
        scottyd = self.begin()
        for one in self.servers:
            if one.kind != "kafka":
                one.delay(2)  # so that there is mostly something under way
        for _ in range(KILLS):
            time.sleep(random.uniform(0.1, 1.5) * sp.SLOW)
            scottyd = self.restart(scottyd)
        self.end(scottyd)

    def test_killed_while_all_are_down(self):
        """A2, and killed while they catch up."""
        scottyd = self.begin()
        for one in self.servers:
            one.down()
        for _ in range(3):
            time.sleep(3)
            scottyd = self.restart(scottyd)
        time.sleep(DOWN_S)
        for one in self.servers:
            one.up()
        for _ in range(3):
            for one in self.servers:
                again = f"/api/writers/{one.kind}/resume"
                self.assertEqual(sp.ask(scottyd.port, "POST", again).status, 204)
            self.wait_for_more(self.servers, 1, "it catches up")
            scottyd = self.restart(scottyd)
        self.end(scottyd)


class Faults(Recovery):
    # What goes wrong with a request, and if it may have been taken: then it comes again.
    HTTP = [("status 500", False), ("status 503", False), ("status 429", False),
            ("status 408", False), ("silent", False), ("reset", False), ("half", True),
            ("close", True), ("drip", True), ("late", True), ("status 413", False),
            ("status 401", False), ("status 404", False)]
    LINES = [("silent", False), ("reset", True), ("half", True), ("close", False),
             ("late", True)]
    REFUSALS = ("status 401", "status 404")
    RETRY_AFTER_S = 3

    def fault(self, server, what):
        what, _, code = what.partition(" ")
        longer_ms = round(2000 * sp.SLOW)
        number = {"status": int(code or 0), "drip": 100 * sp.SLOW, "late": longer_ms,
                  "silent": longer_ms}.get(what, 0)
        server.fault(what, round(number), self.RETRY_AFTER_S if code == "429" else 0)

    def run_fault(self, servers, i):
        """The i-th of each server's faults, until they are overcome. Those that it concerned."""
        concerned = []
        for one in servers:
            faults = self.LINES if one.kind == "graphite" else self.HTTP
            if i < len(faults):
                self.fault(one, faults[i][0])
                concerned.append(one)
        sp.eventually(lambda: not any(one.figures()["faults"] for one in concerned), "faults", 30)
        return concerned

    def check_waits(self, servers):
        """Those that said when to come again are not bothered before."""
        begin, before = time.monotonic(), {one.kind: one.figures()["requests"] for one in servers}
        while time.monotonic() < begin + self.RETRY_AFTER_S - 0.5:
            self.assertEqual({one.kind: one.figures()["requests"] for one in servers}, before)
            time.sleep(0.05)

    def resume(self, scottyd, servers):
        """They are misconfigured, as it seems: that is tried once a minute, or when told to."""
        for one in servers:
            sp.eventually(lambda: sinks.writer(scottyd, one.kind)["state"] == "refused", one.kind,
                          20)
            again = f"/api/writers/{one.kind}/resume"
            self.assertEqual(sp.ask(scottyd.port, "POST", again).status, 204)

    def check_retries(self, scottyd, one, what, before):
        wanted = 1
        if what == "status 413":
            wanted = 0  # in two parts at once
        elif one.kind != "graphite" and what in ("reset", "close"):
            wanted = 0  # libcurl does it, when a kept connection turns out to be closed
        self.assertEqual(sinks.writer(scottyd, one.kind)["retries"], before + wanted,
                         (one.kind, what))

    def test_every_fault_is_overcome(self):
        kinds = (*tallies.HTTP_KINDS, "graphite")
        fleet, servers = self.open(kinds, 20, 100, 0.5, files=0)
        writers = [one.element(BATCH, timeout=f"{sp.SLOW}s") for one in servers]
        config, rate = fleet.config(writers), len(fleet.hosts) * fleet.metrics
        scottyd = self.start(config, fleet)
        self.wait_for_more(servers, 2 * rate, "it begins")
        threads, files = scottyd.status_kib("Threads"), scottyd.open_files()
        doubled = {one.kind: 0 for one in servers}
        for i, (fault, _) in enumerate(self.HTTP):
            retries = {one.kind: sinks.writer(scottyd, one.kind)["retries"] for one in servers}
            concerned = self.run_fault(servers, i)
            if fault == "status 429":
                self.check_waits([one for one in concerned if one.kind != "graphite"])
            if fault in self.REFUSALS:
                self.resume(scottyd, concerned)
            self.wait_for_more(concerned, rate, f"after {fault}")
            for one in concerned:
                what, taken = (self.LINES if one.kind == "graphite" else self.HTTP)[i]
                doubled[one.kind] += BATCH * taken
                self.check_retries(scottyd, one, what, retries[one.kind])
        self.assertEqual(scottyd.status_kib("Threads"), threads)
        self.assertLessEqual(scottyd.open_files(), files + len(kinds))
        self.end_polling(scottyd, config)
        self.check(fleet, scottyd, servers, doubled)


if __name__ == "__main__":
    sp.main()
