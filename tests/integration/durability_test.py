"""Nothing that was accepted is lost on its way to a sink: kill -9, outages, a full disk, few
descriptors, restarts. reliability.md A and B, with numbered samples (ledger.py).

SCOTTY_TEST_LONG=1: longer, and at five times the rate.
"""
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import ledger
import scottyd_proc as sp
import sinks

LONG = os.environ.get("SCOTTY_TEST_LONG", "") not in ("", "0")
KILLS = 20 if not sp.SANITIZED else 6
BATCH = 1000
CATCH_UP = 5  # times the live rate
STALL_MS = 200  # of a processor: half of it disturbs what is measured


class Durable(unittest.TestCase):
    def fleet(self, endpoints=200, metrics=25, interval_s=0.5, flags=()):
        if LONG:
            metrics, interval_s = 2 * metrics, interval_s * 0.4
        if sp.SANITIZED:
            endpoints = endpoints // 4
        fleet = ledger.Fleet(endpoints, metrics, interval_s, *flags)
        self.addCleanup(fleet.close)
        return fleet

    def recorder(self):
        sink = ledger.Recorder()
        self.addCleanup(sink.close)
        return sink

    def start(self, config, state, flags=(), **more):
        scottyd = sp.Scottyd(config, *flags, state=state, **more)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        return scottyd

    def kill(self, scottyd):
        """When, by the wall clock."""
        now = time.time_ns()
        scottyd.kill()
        scottyd.check_log()
        return now

    def drain(self, fleet, scottyd, config, names, seconds=60):
        """No more polls; then all is written. Returns {host: time in ns} of what there was then."""
        polled = sp.eventually(lambda: fleet.newest(scottyd), "all polled", 30)
        scottyd.configure({**config, "endpoints": []})
        scottyd.reload()
        sp.eventually(lambda: all(
            one["lagSeconds"] == 0 and one["valuesWaiting"] == 0 and one["state"] == "idle"
            for one in (sinks.writer(scottyd, name) for name in names)), "all is written", seconds)
        return polled

    def wait_for_values(self, fleet, sink):
        wanted = 2 * len(fleet.hosts) * fleet.metrics
        sp.eventually(lambda: sink.count() > wanted, "the sink gets something", 30)

    def check_served_arrived(self, fleet, scottyd, times, hosts=3):
        for host in random.sample(fleet.hosts, hosts):
            served = fleet.history(scottyd, host)
            self.assertTrue(served, host)
            for number, ts in served.items():
                self.assertEqual(times.get((host, number)), ts, f"{host} {number}")


def slow_answer(*_):
    """So that there is always something under way."""
    time.sleep(random.uniform(0, 0.03))
    return 204, "", {}


# What comes goes on at once, so that a kill meets writers at work.
SOON = ("-pstoreUpdateFrequency", "100ms")
# Runs scottyd_crash in its place.
CRASHING = ("sh", "-c", 'exec "$0_crash" "$@"')


class Killed(Durable):
    def ledgers(self, concurrency=1, **fleet):
        """A fleet, a recorder, the configuration of writers for both sinks, their ledgers."""
        fleet, sink = self.fleet(**fleet), self.recorder()
        file = ledger.Lines(fleet.directory)
        writers = [sinks.influx(sink.port, batch=BATCH, more={"concurrency": concurrency}),
                   file.element(batch=BATCH)]
        return fleet, sink, writers, [ledger.Ledger(fleet, sink, BATCH * concurrency),
                                      ledger.Ledger(fleet, file, BATCH)]

    def runs(self, fleet, config, ledgers, kills, alive_s):
        """Kills so many, and leaves one running."""
        killed_ns = 0
        for i in range(kills + 1):
            for one in ledgers:
                one.run_begins(killed_ns)
            scottyd = self.start(config, fleet.state, flags=SOON)
            if i == kills:
                return scottyd
            time.sleep(random.uniform(*alive_s) * sp.SLOW)
            killed_ns = self.kill(scottyd)
        return None

    def check_all(self, fleet, scottyd, config, ledgers, kills, lose_s=1):
        time.sleep(1)
        polled = self.drain(fleet, scottyd, config, ("w", "file"))
        times = {}
        for one in ledgers:
            one.wait_for(polled)
            one.check(times, lose_s)
            print(f"{type(one.sink).__name__}: {one.sink.count()} values arrived, {one.doubled} "
                  f"twice; {one.missing} of the last moments before {kills} kills were not "
                  "accepted")
        for name, one in zip(("w", "file"), ledgers):
            # Of what came no more some may be known to have been there.
            most = one.missing if lose_s > 1 else 0
            self.assertLessEqual(sinks.writer(scottyd, name)["missed"], most, name)
        self.check_served_arrived(fleet, scottyd, times)

    def test_every_accepted_sample_arrives(self):
        """A1"""
        fleet, sink, writers, ledgers = self.ledgers()
        sink.respond = slow_answer
        config = fleet.config(writers)
        scottyd = self.runs(fleet, config, ledgers, KILLS, (0.1, 1.5))
        self.check_all(fleet, scottyd, config, ledgers, KILLS)

    def test_every_accepted_sample_arrives_at_a_sink_that_was_down(self):
        """A2"""
        fleet, sink, writers, ledgers = self.ledgers(concurrency=3)
        config = fleet.config(writers)
        for one in ledgers:
            one.run_begins()
        scottyd = self.start(config, fleet.state, flags=SOON)
        self.wait_for_values(fleet, sink)
        sink.down()
        time.sleep(2)
        killed_ns = self.kill(scottyd)
        for _ in range(2):
            for one in ledgers:
                one.run_begins(killed_ns)
            scottyd = self.start(config, fleet.state, flags=SOON)
            time.sleep(3 if not LONG else 30)
            killed_ns = self.kill(scottyd)
        for one in ledgers:
            one.run_begins(killed_ns)
        scottyd = self.start(config, fleet.state, flags=SOON)
        time.sleep(1)
        sink.up()
        self.check_all(fleet, scottyd, config, ledgers, 3)

    def test_writers_go_on_after_a_journal_that_could_not_be_written(self):
        """Positions are ahead of the journal then, and polls come before many are read."""
        fleet, _, writers, ledgers = self.ledgers(metrics=2, interval_s=0.1)
        more = [ledger.Lines(fleet.directory, f"more{i}").element(f"more{i}")
                for i in range(50 if not sp.SANITIZED else 10)]
        config = fleet.config(more + writers, journalSegment="1s")
        for one in ledgers:
            one.run_begins()
            one.batch = 10**9  # what the journal did not get begins anew
        scottyd = self.start(config, fleet.state, flags=SOON)
        time.sleep(2)
        failed_ns = time.time_ns()
        journal, away = (os.path.join(fleet.state, name) for name in ("journal", "away"))
        sp.put_file_for_directory(journal, away)
        degraded = "/metricsapi/journal/degraded"
        sp.eventually(lambda: scottyd.get_json(degraded)[0]["value"], "degraded", 20)
        time.sleep(2)
        killed_ns = self.kill(scottyd)
        os.remove(journal)
        os.rename(away, journal)
        for one in ledgers:
            one.run_begins(killed_ns)
        scottyd = self.start(config, fleet.state, flags=SOON)
        time.sleep(2)
        # Who was not done yet with what the journal did not get has lost it.
        self.check_all(fleet, scottyd, config, ledgers, 1, 1 + (killed_ns - failed_ns) / 1e9)

    def die(self, config, state, step):
        """When it died at that step, about; that may be while it starts."""
        os.environ["SCOTTY_CRASH"] = f"{random.randint(3, 5)} {step}"
        try:
            scottyd = sp.Scottyd(config, *SOON, state=state, prefix=CRASHING)
        except AssertionError as failure:
            self.assertNotRegex(str(failure), sp.COMPLAINTS)
            return time.time_ns()
        finally:
            del os.environ["SCOTTY_CRASH"]
        sp.eventually(lambda: scottyd.child.poll() is not None, step, 20)
        self.assertEqual(scottyd.child.returncode, -signal.SIGKILL)
        return self.kill(scottyd)

    def test_killed_at_each_step(self):
        """A5: of the journal, and of the writers' positions."""
        fleet, _, writers, ledgers = self.ledgers()
        config = fleet.config(writers, journalSegment="1s", journalSegmentSize="64KiB")
        steps = ["segment made", "segment begun", "before chunk", "after chunk", "before sync",
                 "after sync", "segment closed", "acknowledged", "position kept"]
        killed_ns = 0
        for step in steps:
            for one in ledgers:
                one.run_begins(killed_ns)
            killed_ns = self.die(config, fleet.state, step)
        for one in ledgers:
            one.run_begins(killed_ns)
        scottyd = self.start(config, fleet.state, flags=SOON)
        self.check_all(fleet, scottyd, config, ledgers, len(steps))



def threads_of(scottyd):
    return scottyd.status_kib("Threads")


class Outage(Durable):
    def outage(self, hanging=0):
        """A fleet, a sink, a file and their ledgers, as one run."""
        fleet, sink = self.fleet(flags=("-hang", str(hanging)) if hanging else ()), self.recorder()
        fleet.hosts = fleet.hosts[:len(fleet.hosts) - hanging]
        file = ledger.Lines(fleet.directory)
        writers = [sinks.influx(sink.port, batch=BATCH), file.element(batch=BATCH)]
        ledgers = [ledger.Ledger(fleet, sink, BATCH), ledger.Ledger(fleet, file, BATCH)]
        for one in ledgers:
            one.run_begins()
        return fleet, sink, writers, ledgers

    def a_sink_catches_up(self):
        self.doCleanups()  # of the measurement before
        fleet, sink, writers, ledgers = self.outage()
        config = fleet.config(writers)
        scottyd = self.start(config, fleet.state)
        self.wait_for_values(fleet, sink)
        time.sleep(1)
        before = scottyd.open_files(), threads_of(scottyd)
        begin, rate = sink.count(), time.monotonic()
        time.sleep(3)
        rate = (sink.count() - begin) / (time.monotonic() - rate)
        sink.down()
        lags = []
        for _ in range(8 if not LONG else 60):
            time.sleep(1)
            lags.append(sinks.writer(scottyd, "file")["lagSeconds"])
        self.assertGreater(sinks.writer(scottyd)["lagSeconds"], 5)
        behind = round(sinks.writer(scottyd)["lagSeconds"] * rate)
        begin = sink.count()
        sink.up()
        sp.eventually(lambda: sink.count() >= begin + behind, "caught up", 90)
        caught = behind / (time.monotonic() - sink.requests[0][0])
        print(f"{rate:.0f} values/s live, {behind} behind, {caught:.0f} values/s caught up")
        self.assertLessEqual(scottyd.open_files(), before[0] + 1)
        self.assertEqual(threads_of(scottyd), before[1])
        polled = self.drain(fleet, scottyd, config, ("w", "file"))
        times = {}
        for one in ledgers:
            one.wait_for(polled)
            one.check(times)
            self.assertEqual((one.doubled, one.missing), (0, 0))
        # One look may have come when other tests had the processors.
        sp.check_ms("lag of the file's writer", sorted(lags)[-2] * 1000, 3000)
        if not sp.SANITIZED:
            sp.check_rate("catch-up, times the live rate", caught / rate, CATCH_UP)

    def test_a_sink_that_was_down_catches_up(self):
        """B1 (short), D8"""
        sp.measure(self.a_sink_catches_up, STALL_MS)

    def test_sigterm_keeps_the_backlog(self):
        """A7: a dead sink, a hanging endpoint, load."""
        fleet, sink, writers, ledgers = self.outage(hanging=1)
        sink.respond = lambda *_: lambda handler: time.sleep(20 * sp.SLOW)
        config = fleet.config(writers)
        scottyd = self.start(config, fleet.state)
        time.sleep(4)
        self.assertGreater(sinks.writer(scottyd)["lagSeconds"], 1)
        stopped_ns = time.time_ns()
        code, seconds = scottyd.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, 5 * sp.SLOW)
        self.assertEqual(sink.count(), 0)
        sink.respond = None
        for one in ledgers:
            one.run_begins(stopped_ns)
        scottyd = self.start(config, fleet.state)
        time.sleep(2)
        polled = self.drain(fleet, scottyd, config, ("w", "file"))
        times = {}
        for one in ledgers:
            # Polls under way at the signal are given up.
            one.wait_for(polled)
            one.check(times, lose_s=0)
            self.assertEqual(one.doubled, 0)
        print(f"stopped in {seconds:.2f} s, {sink.count()} values then arrived")

    def test_the_queue_of_a_removed_writer_is_kept_over_a_restart(self):
        """B6"""
        fleet, sink, writers, ledgers = self.outage()
        influx, file = writers
        config = fleet.config(writers)
        scottyd = self.start(config, fleet.state)
        self.wait_for_values(fleet, sink)
        sink.down()
        time.sleep(2)
        without = fleet.config([file])
        scottyd.configure(without)
        scottyd.reload()
        self.assertTrue(scottyd.has_line("w: removed; its queue is kept"))
        self.assertTrue(scottyd.has_line(r"its place is kept for \d+ s: writer=.w."))
        time.sleep(1)
        killed_ns = self.kill(scottyd)
        for one in ledgers:
            one.run_begins(killed_ns)
        scottyd = self.start(without, fleet.state)
        time.sleep(1)
        self.assertIsNone(sinks.writer(scottyd))
        sink.up()
        # It comes back in another place, and a renamed copy of it begins anew.
        copy = self.recorder()
        again = fleet.config([file, sinks.influx(copy.port, "copy", batch=BATCH), influx])
        scottyd.configure(again)
        scottyd.reload()
        time.sleep(1)
        polled = self.drain(fleet, scottyd, again, ("w", "file", "copy"))
        anew = ledger.Ledger(fleet, copy, BATCH)
        anew.runs = [(0, killed, begun) for _, killed, begun in ledgers[0].runs]
        times = {}
        for one in [*ledgers, anew]:
            one.wait_for(polled)
            one.check(times)
        self.assertEqual({number for (_, number) in times if number == 1}, {1})


class Resources(Durable):
    def test_few_descriptors(self):
        """D1: they suffice for the connections to four fifths of the endpoints."""
        # With fewer endpoints a quarter of the descriptors would not do for the rest.
        fleet, sink = self.fleet(200 if not sp.SANITIZED else 800), self.recorder()
        limit = len(fleet.hosts) * 4 // 5 * 4 // 3  # a quarter is left to others
        file = ledger.Lines(fleet.directory)
        writers = [sinks.influx(sink.port, batch=BATCH), file.element(batch=BATCH)]
        config = fleet.config(writers, journalSegment="1s")
        ledgers = [ledger.Ledger(fleet, sink, BATCH), ledger.Ledger(fleet, file, BATCH)]
        for one in ledgers:
            one.run_begins()
        scottyd = self.start(config, fleet.state,
                             prefix=("prlimit", f"--nofile={limit}:{limit}"))
        segments = lambda: scottyd.get_json("/metricsapi/journal/segments")[0]["value"]
        self.wait_for_values(fleet, sink)
        before = segments()
        sink.down()
        most = 0
        for _ in range(20):
            time.sleep(0.1)
            most = max(most, scottyd.open_files())
            self.assertEqual(scottyd.get("/healthz").status, 200)
        sink.up()
        sp.eventually(lambda: segments() > before + 1, "the journal goes on", 20)
        self.assertEqual([e["error"] for e in scottyd.get_json("/api/endpoints") if e["error"]],
                         [])
        self.assertGreater(most, limit // 2)
        self.assertLess(most, limit)
        # Nobody can have one for a while.
        resource.prlimit(scottyd.child.pid, resource.RLIMIT_NOFILE, (20, limit))
        time.sleep(2 * sp.SLOW)
        starved_ns = time.time_ns()
        resource.prlimit(scottyd.child.pid, resource.RLIMIT_NOFILE, (limit, limit))
        sp.eventually(lambda: not scottyd.get_json("/metricsapi/journal/degraded")[0]["value"],
                      "the journal goes on", 60)
        sp.eventually(lambda: not any(e["error"] for e in scottyd.get_json("/api/endpoints")),
                      "all are polled again", 30)
        polled = self.drain(fleet, scottyd, config, ("w", "file"), 90)
        times = {}
        for one in ledgers:
            one.runs.append((one.sink.count(), starved_ns, starved_ns))
            one.wait_for(polled)
            one.check(times, lose_s=3 * sp.SLOW)
            self.assertEqual(one.doubled, 0)
        print(f"at most {most} of {limit} descriptors for {len(fleet.hosts)} endpoints")


class Watched(sp.Scottyd):
    """One that is asked how it is while it starts, which may take long."""

    READY_S = 60

    def __init__(self, *args, **more):
        self.begun = time.monotonic()
        self.answered = {}  # text of /readiness: seconds after the start
        super().__init__(*args, **more)

    def _is_ready(self):
        try:
            text = self.get("/readiness").body.strip()
            self.answered.setdefault(text, round(time.monotonic() - self.begun, 3))
        except OSError:
            pass  # does not listen yet
        return super()._is_ready()


class Restart(Durable):
    def setUp(self):
        super().setUp()
        self.state = tempfile.mkdtemp(prefix="durability-")
        self.addCleanup(shutil.rmtree, self.state)
        self.endpoint = sp.Endpoint()
        self.addCleanup(self.endpoint.close)

    def generate(self, *flags):
        """A state directory with history up to now; {"values": changed ones, ...}"""
        made = subprocess.run([os.path.join(sp.BIN, "journal_gen"), self.state, *flags],
                              check=True, text=True, stdout=subprocess.PIPE).stdout
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", made)}

    def config(self, **store):
        return {"store": {"memory": "2GiB", **store},
                "endpoints": [self.endpoint.element("web1", "app")]}

    def test_with_an_hour_of_history(self):
        """A3: 1,000 endpoints x 200 metrics every 30 s."""
        made = self.generate("-n", "1000" if not sp.SANITIZED else "100",
                             "-polls", "120" if not LONG else "1670")
        values = made["values"]
        self.assertLess(made["bytes"] / values, 4)
        with sp.Scottyd(self.config()) as scottyd:
            time.sleep(1)
            empty = scottyd.status_kib("VmRSS") * 1024
        for _ in range(3):  # other tests run at the same time
            polled, seconds = self.restart(made, empty)
            if polled < 2 * sp.SLOW:
                break
        if not sp.SANITIZED:
            self.assertLess(seconds, values / 10e6 * 5)
            self.assertLess(polled, 2)
        if LONG:  # and all of it, for which polls wait
            _, seconds = self.restart(made, empty, journalRestoreSize="1TiB", journalRestore="7d")
            self.assertLess(seconds, values / 10e6 * 5)

    def restart(self, made, empty, **store):
        """Returns seconds until it polls, and of restoring."""
        with Watched(self.config(**store), state=self.state) as scottyd:
            polls = "/metricsapi/collector/polls"
            sp.eventually(lambda: scottyd.get_json(polls)[0]["value"] > 0, "polling")
            polled = time.monotonic() - scottyd.begun
            # Sealing what the process before left takes up to 32 MiB, for a moment.
            limit = 1.1 * (made["memory"] + empty) + (4 << 20)
            if not sp.SANITIZED:
                sp.eventually(lambda: scottyd.status_kib("VmRSS") * 1024 < limit,
                              f"less than {limit:.0f} bytes resident")
            rss = scottyd.status_kib("VmRSS") * 1024
            seconds = float(re.search(r"restored: .* seconds=([\d.]+)", scottyd.log()).group(1))
            restored = scottyd.get_json("/metricsapi/journal/restoredValues")[0]["value"]
        print(f"{made['values']} values, {made['bytes']} bytes on disk, {made['memory']} in the "
              f"store; restored {restored} in {seconds} s; {scottyd.answered}; polling after "
              f"{polled:.2f} s; RSS {rss} with it, {empty} without")
        if not LONG or store:  # else some of it stays on disk
            self.assertGreaterEqual(restored, made["values"])
        self.assertLess(scottyd.answered["restoring"], 1 * sp.SLOW)
        return polled, seconds

    def test_a_store_that_is_full_of_what_came_back(self):
        """Who finds no room says so, and what had some goes on."""
        self.endpoint.publish([sp.metric(f"/a/metric{i:05d}", "uint64", i, bits=64)
                               for i in range(2000)])
        elements = [self.endpoint.element(f"old{i:02d}", "app") for i in range(30)]
        directory = tempfile.mkdtemp(prefix="durability-")
        self.addCleanup(shutil.rmtree, directory)
        file = ledger.Lines(directory).element()
        config = {"store": {"memory": "1MiB"}, "endpoints": elements, "writers": [file]}

        def is_full(endpoint):
            return endpoint["state"] == "failed to poll" and "store is full" in endpoint["error"]

        with sp.Scottyd(config, state=self.state, grows=True) as scottyd:
            sp.eventually(lambda: any(map(is_full, scottyd.endpoints().values())), "full")
        small = sp.Endpoint([sp.metric(f"/a/m{i}", "uint64", i, bits=64) for i in range(10)])
        self.addCleanup(small.close)
        config["endpoints"] = elements + [small.element(f"new{i:03d}", "app", interval="1s")
                                          for i in range(200)]
        with sp.Scottyd(config, state=self.state, grows=True) as scottyd:
            self.assertEqual(len(scottyd.endpoints()), 230)
            sp.eventually(lambda: any(is_full(e) for (host, _), e in scottyd.endpoints().items()
                                      if host.startswith("new")),
                          "those that find no room say so", 30)
            self.assertFalse(all(map(is_full, scottyd.endpoints().values())))
            self.assertEqual(sinks.writer(scottyd, "file")["name"], "file")
            self.assertEqual(scottyd.get("/readiness").body, "OK")

    def test_what_stays_on_disk_is_served_as_what_comes_back(self):
        self.generate("-n", "20", "-polls", "400", "-segment", str(64 << 10))
        host = "machine0000007.example"
        restored, served = [], []
        for size in "1GiB", "1KiB":
            state = tempfile.mkdtemp(dir=self.state)
            for part in "journal", "history":
                shutil.copytree(os.path.join(self.state, part), os.path.join(state, part))
            with sp.Scottyd(self.config(journalRestoreSize=size), state=state) as scottyd:
                restored.append(scottyd.get_json("/metricsapi/journal/restoredValues")[0]["value"])
                served.append(scottyd.get(f"/api/hosts/{host}/app?history=10000").body)
                self.assertEqual(
                    scottyd.get_json("/metricsapi/history/errors")[0]["value"], 0)
        self.assertGreater(restored[0], 4 * restored[1])
        self.assertGreater(len(served[0]), 1000000)
        self.assertEqual(served[0], served[1])


if __name__ == "__main__":
    sp.main()
