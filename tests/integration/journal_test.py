"""What was polled outlives the process, a full disk and a restart; and what that costs."""
import contextlib
import datetime
import html
import json
import os
import random
import re
import resource
import signal
import subprocess
import tempfile
import time
import unittest

import bad_endpoints as bad
import scottyd_proc as sp

KILLS = 200 if not sp.SANITIZED else 40
ENDPOINTS = 6


class Numbered(sp.Endpoint):
    """An endpoint whose answers are numbered, and which knows what it has said."""

    def __init__(self, width=1):
        self.said = {}  # number: time stamp
        self.width = width
        super().__init__()

    @property
    def body(self):
        number = len(self.said) + 1
        stamp = f"{time.time():.9f}"
        self.said[number] = stamp
        wide = [sp.metric(f"/wide/{i:05d}", "uint64", random.getrandbits(63), stamp, bits=64)
                for i in range(self.width - 1)]
        return json.dumps([sp.metric("/number", "int64", number, stamp, bits=64)] + wide).encode()

    @body.setter
    def body(self, _):
        pass


@contextlib.contextmanager
def flipped(path, at):
    """One byte of a file is another for a while."""
    def flip():
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1]))
    flip()
    try:
        yield
    finally:
        flip()


def history(scottyd, host):
    """{number: time stamp} as it is served."""
    answer = scottyd.get(f"/api/hosts/{host}/app/number?history=60")
    if answer.status != 200 or answer.json() == []:
        return {}
    values = [v for v in answer.json()[0]["values"] if v["active"]]
    result = {v["value"]: float(v["timestamp"]) for v in values}
    assert len(result) == len(values), f"{host}: a number twice"
    return result


def kill(scottyd):
    """kill -9; the state stays, as it is not below the process's own directory."""
    scottyd.kill()


def own(scottyd, name, group="journal"):
    return scottyd.get_json(f"/metricsapi/{group}/{name}")[0]["value"]


class Journal(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = os.path.join(directory.name, "state")

    def damaged(self):
        return [name for name in os.listdir(os.path.join(self.state, "journal"))
                if "damaged" in name]

    def check_served(self, endpoint, before, now, until):
        """All that was served before, up to that time, is still; nothing was never said."""
        missing = [number for number, stamp in before.items()
                   if stamp <= until and number not in now]
        self.assertEqual(missing, [], f"of {len(before)}")
        for number, stamp in now.items():
            self.assertIn(number, endpoint.said)
            self.assertAlmostEqual(stamp, float(endpoint.said[number]), delta=1e-6)

    def test_killed_at_random_moments(self):
        endpoints = {f"host{i}": Numbered() for i in range(ENDPOINTS)}
        for endpoint in endpoints.values():
            self.addCleanup(endpoint.close)
        config = {"endpoints": [e.element(host, "app") for host, e in endpoints.items()],
                  "store": {"memory": "64MiB", "journalSegment": "3s"}}
        served, killed_at = {host: {} for host in endpoints}, 0
        checked = 0
        for _ in range(KILLS):
            with sp.Scottyd(config, state=self.state) as scottyd:
                for host, endpoint in endpoints.items():
                    now = history(scottyd, host)
                    self.check_served(endpoint, served[host], now, killed_at - 1)
                    checked += len(now)
                time.sleep(random.uniform(0, 0.4))
                served = {host: history(scottyd, host) for host in endpoints}
                # Between the last look and the death nothing is known.
                killed_at = time.time()
                kill(scottyd)
                scottyd.check_log()
        print(f"{KILLS} kills, {checked} values compared, "
              f"{len(self.damaged())} torn ends set aside")
        self.assertGreater(min(len(e) for e in served.values()), KILLS // 4)

    def test_sigterm_loses_nothing(self):
        with Numbered() as endpoint:
            hanging = bad.BadEndpoint(lambda *_: True)
            self.addCleanup(hanging.close)
            config = {"endpoints": [endpoint.element("good", "app"),
                                    {"host": "hanging", "app": "app", "address": "127.0.0.1",
                                     "port": hanging.port, "interval": "1s"}]}
            with sp.Scottyd(config, state=self.state) as scottyd:
                endpoint.wait_polled(10)
                served = history(scottyd, "good")
                code, seconds = scottyd.stop()
                self.assertEqual(code, 0)
                self.assertLess(seconds, 5 * sp.SLOW)
            with sp.Scottyd(config, state=self.state) as scottyd:
                self.check_served(endpoint, served, history(scottyd, "good"), time.time())
                self.assertEqual(self.damaged(), [])

    def check_degraded(self, scottyd):
        """It says so wherever one looks, with the reason, and goes on answering. It may be well for
        a moment, when it tries again."""
        def says_so():
            reason = own(scottyd, "lastError")
            health = scottyd.get("/healthz")
            page = html.unescape(scottyd.get("/").body)
            return reason != "" and (health.status, health.body) == (
                200, f"degraded: what is polled is not kept on disk: {reason}\n") and \
                "<td>Degraded</td>" in page and reason in page

        sp.eventually(says_so, "it is said that it is degraded", 30)
        self.assertEqual(scottyd.get("/readiness").status, 200)

    def check_well(self, scottyd):
        self.assertEqual(scottyd.get("/healthz").body, "OK")
        self.assertNotIn("Degraded", scottyd.get("/").body)

    def check_full_disk(self, scottyd, endpoint, free):
        """Degraded, polling on, well again; then a restart."""
        sp.eventually(lambda: own(scottyd, "degraded"), "the disk is full", 60)
        before = history(scottyd, "wide")
        polled = endpoint.requests
        sp.eventually(lambda: endpoint.requests > polled + 5, "polling goes on")
        self.assertIn("not writing", scottyd.log())
        self.check_degraded(scottyd)
        free()
        sp.eventually(lambda: not own(scottyd, "degraded"), "the disk is well again", 60)
        self.check_well(scottyd)
        endpoint.wait_polled(5)
        self.assertTrue(scottyd.has_line(r"writing again: lostRows=[1-9]"), scottyd.log())
        print(f"lost polls: {own(scottyd, 'lostPolls')}")
        return before

    def full_disk(self, free, **how):
        with Numbered(2000) as endpoint:
            config = {"endpoints": [endpoint.element("wide", "app")],
                      "store": {"memory": "256MiB"}}
            with sp.Scottyd(config, state=self.state, **how) as scottyd:
                before = self.check_full_disk(scottyd, endpoint, lambda: free(scottyd))
            with sp.Scottyd(config, state=self.state) as scottyd:
                now = history(scottyd, "wide")
                for number, stamp in now.items():
                    self.assertAlmostEqual(stamp, float(endpoint.said[number]), delta=1e-6)
                # What was before the disk was full is there, save the last moments.
                kept = [n for n in before if n in now]
                self.assertGreater(len(kept), 3)
                self.assertEqual(self.damaged(), [])

    def test_full_disk(self):
        os.mkdir(self.state)
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", self.state]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", self.state], check=True)
        self.full_disk(lambda _: subprocess.run(
            ["mount", "-o", "remount,size=64m", self.state], check=True))

    def test_file_size_limit(self):
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
        try:
            self.full_disk(lambda scottyd: (
                resource.setrlimit(resource.RLIMIT_FSIZE, limit),
                resource.prlimit(scottyd.child.pid, resource.RLIMIT_FSIZE, limit)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    def test_restart_with_a_million_values(self):
        sim_config = self.state + ".sim"
        with sp.FleetSim("-n", "100", "-metrics", "200", "-addresses", "-base",
                         str(sp.free_port()), "-interval", "100ms", "-write-config",
                         sim_config):
            with open(sim_config, encoding="ascii") as f:
                elements = re.findall(
                    r"- \{host: (\S+), app: (\S+), address: (\S+), port: (\d+)\}", f.read())
            config = {"collection": {"frequency": "100ms" if not sp.SANITIZED else "500ms"},
                      "store": {"memory": "512MiB"},
                      "endpoints": [{"host": h, "app": a, "address": ip, "port": int(p)}
                                    for h, a, ip, p in elements]}
            wanted = 1e6 if not sp.SANITIZED else 1e5
            with sp.Scottyd(config, state=self.state) as scottyd:
                sp.eventually(lambda: own(scottyd, "values") > wanted, "a million values", 60)
                rss_before = scottyd.status_kib("VmRSS")
                kill(scottyd)
            # Few new values then, as they take memory too.
            config["collection"]["frequency"] = "1s"
            self.check_restart(config, wanted, rss_before)

    def check_restart(self, config, wanted, rss_before):
        begin = time.monotonic()
        with sp.Scottyd(config, state=self.state) as scottyd:
            polls = "/metricsapi/collector/polls"
            sp.eventually(lambda: scottyd.get_json(polls)[0]["value"] > 0, "polling")
            polling_s, cpu_s = time.monotonic() - begin, scottyd.cpu_seconds()
            found = re.search(r"restored: .* values=(\d+) seconds=([\d.]+)", scottyd.log())
            values, seconds = int(found.group(1)), float(found.group(2))
            # Sealing what was left and the first polls, all at once, take more for a moment.
            limit = 1.1 * rss_before + 2048
            sp.eventually(lambda: own(scottyd, "sealed", "history") > 0, "what is left is sealed",
                          60)
            if not sp.SANITIZED:
                sp.eventually(lambda: scottyd.status_kib("VmRSS") < limit,
                              f"at most {limit:.0f} KiB")
            print(f"{values} values back in {seconds} s, polling after {polling_s:.2f} s "
                  f"({cpu_s} s of CPU), RSS {rss_before} -> {scottyd.status_kib('VmRSS')} KiB")
            self.assertGreater(values, wanted * 0.9)
            # Where other tests take the processors, what it took itself counts.
            if not sp.SANITIZED:
                self.assertLess(min(seconds, cpu_s), max(0.2, values * 5 / 10e6))
            self.assertLess(min(polling_s, cpu_s), 2 * sp.SLOW)

    def test_history_that_is_only_on_disk(self):
        with Numbered(1500) as endpoint:
            config = {"endpoints": [endpoint.element("wide", "app")],
                      "store": {"memory": "2MiB", "journalSegment": "2s"}}
            with sp.Scottyd(config, state=self.state) as scottyd:
                sp.eventually(lambda: own(scottyd, "sealed", "history") >= 3, "sealed", 60)
                sp.eventually(lambda: history(scottyd, "wide") and
                              own(scottyd, "queries", "history") > 0, "memory has not all", 90)
                endpoint.wait_polled(5)
                said = len(endpoint.said)
                served = history(scottyd, "wide")
                self.assertEqual(sorted(served), list(range(1, len(served) + 1)))
                self.assertGreaterEqual(len(served), said - 2)
                self.check_served(endpoint, served, history(scottyd, "wide"), time.time())
                begun = time.monotonic()
                values = scottyd.get_json("/api/hosts/wide/app/wide?history=60")
                print(f"{sum(len(v['values']) for v in values)} values in "
                      f"{time.monotonic() - begun:.2f} s, "
                      f"{own(scottyd, 'files', 'history')} files")
                self.assertEqual(own(scottyd, "errors", "history"), 0)
                self.assertEqual(own(scottyd, "cut", "history"), 0)
                # Not only what memory has.
                self.assertIn("\nEarliest:  0\n", scottyd.get("/api/earliest/number").body)
                self.check_cut(scottyd, endpoint)
                killed_at = time.time()
                kill(scottyd)
            with sp.Scottyd(config, state=self.state) as scottyd:
                self.check_served(endpoint, served, history(scottyd, "wide"), killed_at - 1)
                endpoint.wait_polled(5)
                self.check_served(endpoint, served, history(scottyd, "wide"), killed_at - 1)
                self.assertEqual(min(history(scottyd, "wide")), 1)
            checked = subprocess.run([sp.BIN + "/scotty", "fsck", self.state], text=True,
                                     capture_output=True, timeout=60, check=False)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
            self.assertRegex(checked.stdout, r"history/0+1\.sh: +good")

    def check_cut(self, scottyd, endpoint):
        """What can't be read is left out, and the answer says from when on it is whole."""
        url = "/api/hosts/wide/app/number?history=60"
        self.assertIsNone(scottyd.get(url).headers["X-Scotty-History-Cut"])
        with flipped(os.path.join(self.state, "history", "000000000001.sh"), 100):
            answer = scottyd.get(url)
        whole = answer.headers["X-Scotty-History-Cut"]
        self.assertRegex(whole, r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ$")
        whole_s = datetime.datetime.fromisoformat(whole.replace("Z", "+00:00")).timestamp()
        served = {v["value"] for v in answer.json()[0]["values"]}
        missing = [n for n in range(1, max(served) + 1) if n not in served]
        self.assertNotEqual(missing, [])
        if not sp.SANITIZED:  # reading takes longer than values stay in memory
            self.assertLess(float(endpoint.said[missing[-1]]), whole_s)
            self.assertLess(whole_s, float(endpoint.said[missing[-1]]) + 4)
        self.assertEqual(own(scottyd, "cut", "history"), 1)

    def test_without_a_state_directory_nothing_is_written(self):
        with Numbered() as endpoint:
            config = {"endpoints": [endpoint.element("good", "app")], "stateDir": ""}
            with sp.Scottyd(config, state=self.state) as scottyd:
                endpoint.wait_polled(5)
                self.assertNotEqual(history(scottyd, "good"), {})
                self.assertEqual(scottyd.get_json("/metricsapi/journal"), [])
            self.assertFalse(os.path.exists(self.state))

    def test_unwritable_directory(self):
        os.mkdir(self.state)
        with open(os.path.join(self.state, "journal"), "w", encoding="ascii"):
            pass  # a file, where a directory should be
        with Numbered() as endpoint:
            config = {"endpoints": [endpoint.element("good", "app")]}
            with sp.Scottyd(config, state=self.state) as scottyd:
                endpoint.wait_polled(5)
                self.assertNotEqual(history(scottyd, "good"), {})
                self.assertTrue(own(scottyd, "degraded"))
                self.assertIn("journal", own(scottyd, "lastError"))
                self.check_degraded(scottyd)
                os.remove(os.path.join(self.state, "journal"))
                sp.eventually(lambda: not own(scottyd, "degraded"), "written after all", 30)
                self.check_well(scottyd)


if __name__ == "__main__":
    sp.main()
