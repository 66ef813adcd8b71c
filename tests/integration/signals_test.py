"""How scottyd starts, stops, reads its configuration again, and what it says when it can't."""
import http.client
import os
import signal
import socket
import tempfile
import threading
import time
import unittest

import bad_endpoints as bad
import scottyd_proc as sp

STOP_SECONDS = 2
INTERVAL_MS = 100  # of an Endpoint


def slow_reader(port):
    """A client that asks for much and reads nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET /api/latest/ HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    return sock


def hang(*_):
    """Reads requests and never answers."""
    return True


class Stopping(unittest.TestCase):
    def check_stops(self, sig):
        metrics = [sp.metric(f"/m{i:05d}", "string", "x" * 200) for i in range(2000)]
        with sp.Endpoint(metrics) as endpoint:
            hanging = bad.BadEndpoint(hang)
            self.addCleanup(hanging.close)
            config = {"endpoints": [endpoint.element("good", "app"),
                                    {"host": "hanging", "app": "app", "address": "127.0.0.1",
                                     "port": hanging.port, "interval": "1s"}]}
            with sp.Scottyd(config) as scottyd:
                state = lambda: scottyd.endpoints()["hanging", "app"]["state"]
                sp.eventually(lambda: state() == "polling", "hanging endpoint is polled")
                endpoint.wait_polled()
                reader = slow_reader(scottyd.port)
                self.addCleanup(reader.close)
                reader.settimeout(10)
                self.assertTrue(reader.recv(1))
                code, seconds = scottyd.stop(sig)
                print(f"stopped in {seconds:.2f} s")
                self.assertEqual(code, 0, scottyd.log())
                self.assertLess(seconds, STOP_SECONDS * sp.SLOW)

    def test_sigterm_with_a_hanging_endpoint_and_a_slow_reader(self):
        self.check_stops(signal.SIGTERM)

    def test_sigint(self):
        self.check_stops(signal.SIGINT)

    def test_pid_file_lives_as_long_as_the_process(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "pid")
            with sp.Scottyd({}, "-pidfile", path) as scottyd:
                with open(path, encoding="ascii") as f:
                    self.assertEqual(int(f.read()), scottyd.child.pid)
            self.assertFalse(os.path.exists(path))


class Starting(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="scottyd-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.config = os.path.join(self.dir, "scottyd.yaml")

    def write(self, text):
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)

    def check_one_line(self, done, code, pattern):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stdout, "")

    def run_with(self, text, *flags):
        self.write(text)
        return sp.run("-config", self.config, "-stateDir", self.dir, *flags)

    def test_taken_port(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = self.run_with("mdbFile: ''\n", "-listen", f"127.0.0.1:{port}")
        self.check_one_line(done, 1, rf"listen on 127\.0\.0\.1:{port}: Address already in use")

    def test_wrong_key(self):
        done = self.run_with("mdbFile: ''\ncollection:\n  frequenzy: 10s\n")
        self.check_one_line(done, 2, rf"^{self.config}:3:3: .*frequenzy")

    def test_every_complaint_has_its_place(self):
        done = self.run_with("collection: {threads: many}\nstore:\n  memory: -1\n"
                             "endpoints:\n- {host: a, app: b, port: 1}\n- {host: a, app: b, port: 2}\n")
        self.assertEqual(done.returncode, 2)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 3, done.stderr)
        for line, place, word in zip(lines, ("1:", "3:", "6:"), ("threads", "memory", "twice")):
            self.assertTrue(line.startswith(f"{self.config}:{place}"), line)
            self.assertIn(word, line)

    def test_file_that_is_not_there(self):
        done = sp.run("-config", os.path.join(self.dir, "nothing"))
        self.check_one_line(done, 2, "nothing: No such file or directory")

    @unittest.skipIf(os.getuid() == 0, "root may read everything")
    def test_file_that_may_not_be_read(self):
        self.write("")
        os.chmod(self.config, 0)
        self.check_one_line(sp.run("-config", self.config), 2, "Permission denied")

    def test_directory_in_place_of_the_file(self):
        self.check_one_line(sp.run("-config", self.dir), 2, f"{self.dir}: Is a directory")

    def test_file_that_is_no_yaml(self):
        done = self.run_with("endpoints: [\n")
        self.check_one_line(done, 2, rf"^{self.config}:\d+:\d+: ")

    def test_state_directory_that_cannot_be_made(self):
        self.write("mdbFile: ''\n")
        done = sp.run("-config", self.config, "-listen", f"127.0.0.1:{sp.free_port()}",
                      "-stateDir", os.path.join(self.dir, "no", "such"))
        self.check_one_line(done, 1, "stateDir .*No such file or directory")

    def test_unknown_and_unsupported_flags(self):
        self.check_one_line(sp.run("-nonsense"), 2, "flag -nonsense: not known")
        self.check_one_line(sp.run("-coordinator", "x"), 2, "flag -coordinator: not supported")
        self.check_one_line(sp.run("-portNum", "x"), 2, "flag -portNum")

    def test_open_address_must_be_meant(self):
        done = self.run_with("listen: ':6980'\n")
        self.check_one_line(done, 2, rf"^{self.config}:1:\d+: .*insecure")

    def test_generated_configuration_is_valid(self):
        generated = sp.run("-generate")
        self.assertEqual((generated.returncode, generated.stderr), (0, ""))
        self.write(generated.stdout)
        done = sp.run("-validate", "-config", self.config)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_validate_names_what_is_wrong(self):
        self.write("listen: 5\ncollection: {}\nstrange: 1\n")
        done = sp.run("-validate", "-config", self.config)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rf"{self.config}:3:1: .*strange")

    def test_version(self):
        done = sp.run("-version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^scottyd \d+\.\d+\.\d+\n$")

    def test_flags_are_written_as_in_go(self):
        port = sp.free_port()
        self.write(f"mdbFile: ''\nstateDir: {self.dir}\nlisten: 127.0.0.1:1\n")
        for flags in (["-portNum", str(port)], [f"-portNum={port}"], ["--portNum", str(port)]):
            child = sp.Process([sp.SCOTTYD, "-config", self.config, *flags])
            try:
                sp.eventually(lambda: "scottyd: ready" in child.lines, "ready")
                self.assertEqual(sp.ask(port, "GET", "/healthz").status, 200)
            finally:
                child.child.terminate()
                self.assertEqual(child.wait(10 * sp.SLOW), 0)


class Client(threading.Thread):
    """Asks again and again over one connection, some 200 times a second; counts, and keeps what went
    wrong."""

    def __init__(self, port):
        super().__init__()
        self.port, self.answered, self.failures, self.over = port, 0, [], threading.Event()

    def run(self):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10 * sp.SLOW)
        while not self.over.is_set() and not self.failures:
            try:
                conn.request("GET", "/api/latest/")
                answer = conn.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
            self.answered += 1
            time.sleep(0.004)
        conn.close()


class Reloading(unittest.TestCase):
    ROUNDS = 100
    BAD = ["collection: {frequency: fast}\n", "endpoints: 5\n", "a: [\n", "listen: 127.0.0.1:x\n",
           "endpoints: [{host: h, app: a, port: 1, source: none}]\n"]

    def test_good_and_bad_configurations_under_load(self):
        """E5"""
        sp.measure(self.good_and_bad_configurations, INTERVAL_MS)

    def good_and_bad_configurations(self):
        with sp.Endpoint([sp.metric("/a", "int32", 1, bits=32)]) as endpoint:
            element = endpoint.element("host1", "app")
            more = [{"host": f"more{i}", "app": "app", "address": "127.0.0.1", "port": 1}
                    for i in range(20)]
            with sp.Scottyd({"endpoints": [element]}) as scottyd:
                endpoint.wait_polled()
                self.reload_all(scottyd, element, more)
                endpoint.wait_polled()

    def validate(self, scottyd):
        return sp.run("-validate", "-config", scottyd.config_file).returncode

    def reload_all(self, scottyd, element, more):
        clients, begin = [Client(scottyd.port) for _ in range(4)], time.monotonic()
        for client in clients:
            client.start()
        files = scottyd.open_files()
        try:
            for i in range(self.ROUNDS):
                if i % 2 == 0:
                    before = sorted(scottyd.endpoints())
                    scottyd.configure_raw(self.BAD[i // 2 % len(self.BAD)])
                    if i // 2 < len(self.BAD):
                        self.assertEqual(self.validate(scottyd), 1)
                    scottyd.reload()
                    self.assertEqual(sorted(scottyd.endpoints()), before)
                else:
                    scottyd.configure({"endpoints": [element, *more[:i % 20]]})
                    scottyd.reload()
                    active = [e for e in scottyd.endpoints().values() if e["active"]]
                    self.assertEqual(len(active), 1 + i % 20)
        finally:
            for client in clients:
                client.over.set()
                client.join()
        for client in clients:
            self.assertEqual(client.failures, [])
        answered, seconds = sum(c.answered for c in clients), time.monotonic() - begin
        print(f"{answered} requests answered meanwhile, {answered / seconds:.0f} a second")
        self.assertEqual(self.validate(scottyd), 0)
        sp.eventually(lambda: scottyd.open_files() <= files, "files closed")
        sp.check_ticks([scottyd.endpoints()["host1", "app"]])

    def test_what_is_wrong_is_said_and_the_old_configuration_stays(self):
        with sp.Scottyd({"endpoints": []}) as scottyd:
            scottyd.configure_raw("mdbFile: ''\nwrong: 1\n")
            scottyd.reload()
            self.assertTrue(scottyd.has_line(rf"^{scottyd.config_file}:2:1: .*wrong"))
            self.assertTrue(scottyd.has_line("configuration is no good, the old one stays"))
            self.assertEqual(scottyd.get("/healthz").status, 200)


if __name__ == "__main__":
    sp.main()
