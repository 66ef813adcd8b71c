"""Nothing is left of a fault that is over (reliability D8): see leftovers.py."""
import concurrent.futures
import contextlib
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import bad_endpoints as bad
import leftovers
import scottyd_proc as sp
import sinks


def metrics():
    return [sp.metric(f"/m/{i}", "uint64", i, f"{time.time():.9f}", bits=64) for i in range(20)]


METRICS = metrics()
HOUR = "1h"  # they are polled when told to


def status_500(conn, _):
    conn.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    return True


def huge(conn, _):
    """More than maxResponse."""
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n[" + b" " * 199999)
    return True


def hang(conn, _):
    conn.recv(1)
    return False


def answers_and_closes(conn, _):
    body = json.dumps(METRICS).encode()
    conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" %
                 (len(body), body))
    return False


def bad_metrics(conn, _):
    """Good ones, one twice, one that is none."""
    body = json.dumps([*METRICS, METRICS[-1], sp.metric("/n", "nothing", 1)]).encode()
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    return True


WAYS = {"reset": bad.reset, "redirect": bad.redirect, "truncated": bad.truncated,
        "no-http": bad.no_http, "endless-head": bad.endless_head, "500": status_500, "huge": huge,
        "hang": hang, "bad-metrics": bad_metrics}


class Changing:
    """What an endpoint says is of another layout each time."""

    def __init__(self):
        self.number = 0

    def __call__(self, conn, _):
        self.number += 1
        body = json.dumps([sp.metric(f"/m/{self.number % 7}/{i}", "uint64", i, bits=64)
                           for i in range(20)]).encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True


class Leftovers(unittest.TestCase):
    def setUp(self):
        self.good = sp.Endpoint(METRICS)
        self.addCleanup(self.good.close)

    def start(self, endpoints=(), **more):
        config = {"endpoints": list(endpoints), **more,
                  "collection": {"connectTimeout": "100ms", "pollTimeout": "100ms",
                                 "maxResponse": "100KiB"}}
        scottyd = leftovers.Counted(config, "-pstoreUpdateFrequency", "50ms")
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        self.config = config
        return scottyd

    def own(self, scottyd, path):
        return scottyd.get_json("/metricsapi" + path)[0]["value"]

    def poll(self, scottyd):
        """All are polled once more, and that is over."""
        polls = lambda: self.own(scottyd, "/collector/polls")  # that ended
        wanted = polls() + self.polled
        self.assertEqual(sp.ask(scottyd.port, "POST", "/api/poll").status // 100, 2)
        sp.eventually(lambda: polls() >= wanted, "polls")

    def test_a_leak_is_seen(self):
        """Of 1 KiB in each of so many faults; of a file; of a segment that is never sealed."""
        scottyd = self.start()
        fault = lambda: scottyd.get("/healthz")
        leftovers.check_nothing_is_left(scottyd, "nothing at all", fault)
        if not sp.SANITIZED:
            def leak():
                scottyd.lose(1)
                fault()
            with self.assertRaisesRegex(AssertionError, "the heap besides the store grew"):
                leftovers.check_nothing_is_left(scottyd, "1 KiB", leak)
        for name, is_seen in ("history/000000000007.sh.new", True), ("state.db~", True), \
                ("journal/000000000007.sj.damaged-20260101T000000Z", False):
            path = os.path.join(scottyd.state, name)
            with open(path, "wb"):
                pass
            self.assertEqual(bool(sp.litter(scottyd.state)), is_seen, name)
            self.assertEqual(bool(scottyd.left_on_disk()), not is_seen, name)
            os.remove(path)
        waiting = [os.path.join(scottyd.state, f"journal/{i:012d}.sj") for i in range(7, 9)]
        for path in waiting:
            with open(path, "wb"):
                pass
        self.assertIn("000000000008.sj", scottyd.left_on_disk())
        for path in waiting:
            os.remove(path)
        self.assertEqual(scottyd.left_on_disk(), "")

    def test_endpoints(self):
        """Each way to fail, an agent that is silent, good ones beside them."""
        endpoints = [self.good.element("good", "app", HOUR)]
        for name, way in {**WAYS, "changing": Changing()}.items():
            one = bad.BadEndpoint(way)
            self.addCleanup(one.close)
            endpoints.append({"host": name, "app": "app", "address": "127.0.0.1",
                              "port": one.port, "interval": HOUR})
        endpoints.append({**endpoints[-1], "host": "refuses", "port": sp.free_port()})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            endpoints.append({**endpoints[-1], "host": "silent", "source": "snmp",
                              "port": silent.getsockname()[1],
                              "options": {"timeout": "30ms", "retries": 1}})
            scottyd = self.start(endpoints)
            self.polled = len(endpoints)
            leftovers.check_nothing_is_left(scottyd, f"{len(endpoints)} endpoints, most bad",
                                            lambda: self.poll(scottyd))
            failed = sum(1 for e in scottyd.endpoints().values() if e["error"])
            self.assertEqual(failed, len(endpoints) - 3)

    def test_endpoints_that_come_and_go(self):
        scottyd = self.start()
        element = {"address": "127.0.0.1", "port": self.good.port, "interval": "100ms"}
        numbers = iter(range(1 << 30))

        def come_and_go():
            path = f"/api/endpoints/host{next(numbers) % 4}/app"
            self.assertIn(sp.ask(scottyd.port, "PUT", path, json.dumps(element)).status, (200, 201))
            self.good.wait_polled(1)
            self.assertEqual(sp.ask(scottyd.port, "DELETE", path).status, 204)
        leftovers.check_nothing_is_left(scottyd, "come and go", come_and_go)

    def test_clients(self):
        """That go away, that ask for what makes no sense, or too much."""
        scottyd = self.start([self.good.element("good", "app")])
        self.good.wait_polled()

        def send(text, reads):
            with socket.create_connection(("127.0.0.1", scottyd.port)) as sock:
                sock.settimeout(10 * sp.SLOW)
                sock.sendall(text)
                with contextlib.suppress(ConnectionError):
                    while reads and sock.recv(65536):
                        pass
                # RST, so that nothing waits for the other side.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        get = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

        def clients():
            send(b"GET /api/la", False)
            send(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n<", False)
            send(get % b"/api/latest/", False)
            for path in b"/nowhere", b"/api/latest/[", b"/api/hosts/good/app?history=1000", \
                    b"/api/hosts/good/app?history=x", b"/api/earliest/":
                send(get % path, True)
            send(b"NONSENSE\r\n\r\n", True)
            send(b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 100000 + b"\r\n\r\n", True)
            send(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
                 b"<!DOCTYPE", True)
        leftovers.check_nothing_is_left(scottyd, "11 clients", clients)

    def test_a_writer(self):
        """Whose server refuses, answers nonsense, closes; and is gone for a while."""
        faults = [(500, "no", {}), (503, "", {"Retry-After": "1"}), (413, "", {}),
                  (400, '{"error":"partial write: x dropped=0"}', {}), (401, "", {}),
                  lambda handler: handler.wfile.write(b"nonsense"), lambda handler: None]
        sink = sinks.Sink(lambda *_: self.faults.pop(0) if self.faults else (204, "", {}))
        self.addCleanup(sink.close)
        self.faults, numbers = [], iter(range(1 << 30))
        scottyd = self.start([self.good.element("good", "app")],
                             writers=[sinks.influx(sink.port)])

        def outage():
            self.faults.append(faults[next(numbers) % len(faults)])
            self.good.publish(metrics())
            sp.eventually(lambda: not self.faults, "the fault")
            lines = len(sink.lines)

            def goes_on():
                self.good.publish(metrics())
                sp.ask(scottyd.port, "POST", "/api/writers/w/resume")
                return len(sink.lines) > lines
            sp.eventually(goes_on, "the writer goes on", 20)
            del sink.lines[:-1]
        leftovers.check_nothing_is_left(scottyd, "a writer's server", outage, times=96, warm=16)

    def test_reloads(self):
        scottyd = self.start([self.good.element("good", "app")])
        text = json.dumps({"endpoints": 7})

        def reloads():
            scottyd.configure({**self.config, "writers": [
                {"file": {"path": os.path.join(scottyd.dir, "lines")},
                 "consumer": {"name": "lines"}}]})
            scottyd.reload()
            scottyd.configure_raw(text)
            scottyd.reload()
            scottyd.configure(self.config)
            scottyd.reload()
        leftovers.check_nothing_is_left(scottyd, "reloads", reloads, times=96, warm=16)

    def test_descriptors(self):
        """Nobody can have one for a while."""
        once = bad.BadEndpoint(answers_and_closes)
        self.addCleanup(once.close)
        endpoints = [{"host": f"host{i}", "app": "app", "address": "127.0.0.1", "port": once.port,
                      "interval": "100ms"} for i in range(20)]
        scottyd = self.start(endpoints)
        most = resource.prlimit(scottyd.child.pid, resource.RLIMIT_NOFILE)
        errors = lambda: [e["error"] for e in scottyd.endpoints().values() if e["error"]]

        failed = lambda: self.own(scottyd, "/collector/failedPolls")

        def starve():
            before = failed()

            def polls_failed():
                resource.prlimit(scottyd.child.pid, resource.RLIMIT_NOFILE, (10, most[1]))
                time.sleep(0.15 * sp.SLOW)
                resource.prlimit(scottyd.child.pid, resource.RLIMIT_NOFILE, most)
                return failed() > before
            sp.eventually(polls_failed, "polls fail")
            sp.eventually(lambda: not errors(), "all is well again", 20)
        leftovers.check_nothing_is_left(scottyd, "no descriptors", starve, times=64, warm=16)

    def test_a_disk_that_fails(self):
        """Few times, as it is tried ever more seldom: what is lost in bulk is seen."""
        scottyd = self.start([self.good.element("good", "app")],
                             store={"memory": "64MiB", "journalSegment": "1s"})
        journal = os.path.join(scottyd.state, "journal")
        away = os.path.join(scottyd.dir, "away")

        def fail():
            sp.put_file_for_directory(journal, away)
            sp.eventually(lambda: self.own(scottyd, "/journal/degraded"), "degraded", 20)
            os.remove(journal)
            os.rename(away, journal)
            sp.eventually(lambda: not self.own(scottyd, "/journal/degraded"), "well", 60)
        leftovers.check_nothing_is_left(scottyd, "a disk that fails", fail, times=3, warm=1)

    def test_questions_that_reach_back_to_the_disk(self):
        state = tempfile.mkdtemp(prefix="leftovers-")
        self.addCleanup(shutil.rmtree, state)
        subprocess.run([os.path.join(sp.BIN, "journal_gen"), state, "-n", "5", "-polls", "100",
                        "-segment", str(16 << 10)], check=True, stdout=subprocess.DEVNULL)
        config = {"store": {"memory": "64MiB", "journalRestoreSize": "1KiB"}}
        with leftovers.Counted(config, state=state) as scottyd:
            path = "/api/hosts/machine0000003.example/app?history=10000"
            self.assertGreater(len(scottyd.get(path).body), 10000)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:  # each thread has its memory
                list(pool.map(scottyd.get, [path] * 64))
            leftovers.check_nothing_is_left(scottyd, "history on disk",
                                            lambda: scottyd.get(path))

    def test_kills(self):
        """What they leave on disk is sealed in the end."""
        state = tempfile.mkdtemp(prefix="leftovers-")
        self.addCleanup(shutil.rmtree, state)
        config = {"endpoints": [self.good.element("good", "app")],
                  "store": {"memory": "64MiB", "journalSegment": "1s"}}
        for _ in range(10):
            scottyd = sp.Scottyd(config, state=state)
            self.good.wait_polled(3)
            scottyd.kill()
        with sp.Scottyd(config, state=state) as scottyd:
            sp.eventually(lambda: not scottyd.left_on_disk(), "sealed", 20)
            print(f"after 10 kills: {sp.disk_use(state)}")
        self.assertEqual(sp.litter(state), [])


if __name__ == "__main__":
    sp.main()
