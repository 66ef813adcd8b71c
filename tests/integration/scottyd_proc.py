"""What the integration tests share: running scottyd, asking it, and endpoints for it to poll.

Ports are below the range that the system gives to outgoing connections. Deadlines are multiplied
by SLOW, which is above 1 for builds with sanitizers.
"""
import contextlib
import http.client
import http.server
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BIN = os.environ["SCOTTY_BIN"]
SLOW = float(os.environ.get("SCOTTY_TEST_SLOW") or 1)
SANITIZED = SLOW > 1
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")

SCOTTYD = os.path.join(BIN, "scottyd")
FLEET_SIM = os.path.join(BIN, "fleet_sim")

COMPLAINTS = re.compile(r"Sanitizer|runtime error:|Assertion|stack smashing|double free")


def data(name):
    """A file of tests/data, as text with its line ends kept."""
    with open(os.path.join(DATA, name), encoding="utf-8", newline="") as f:
        return f.read()


class Ports:
    """Ports for this process alone, as long as it lives: a server that is down must not find
    another test's in its place.

    They come in blocks. Who binds a socket of the abstract name that goes with a block owns it.
    """

    FIRST, BLOCK, BLOCKS = 10000, 200, 110

    def __init__(self):
        self.guards, self.left = [], range(0)

    def take(self, count):
        """The first of so many in a row, each given out once."""
        if count > len(self.left):
            self._take_block()
        first = self.left[0]
        self.left = self.left[count:]
        return first

    def _take_block(self):
        for i in random.sample(range(self.BLOCKS), self.BLOCKS):
            guard = socket.socket(socket.AF_UNIX)
            try:
                guard.bind(f"\0scotty-test-ports-{i}")
            except OSError:
                guard.close()
                continue
            self.guards.append(guard)
            self.left = range(self.FIRST + i * self.BLOCK, self.FIRST + (i + 1) * self.BLOCK)
            return
        raise AssertionError("other tests have all ports")


_ports = Ports()


def _is_free(address, port):
    with socket.socket() as sock:
        try:
            sock.bind((address, port))
        except OSError:
            return False
    return True


def free_port(address="127.0.0.1", count=1):
    """The first of so many ports in a row that nobody listens on; count: at most Ports.BLOCK."""
    while True:
        first = _ports.take(count)
        if all(_is_free(address, first + i) for i in range(count)):
            return first


def eventually(check, what, seconds=30):
    """Calls check until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds * SLOW:g} s; last: {result!r}")
        time.sleep(0.02)


def run(*args, **more):
    """Runs scottyd to its end."""
    return subprocess.run([SCOTTYD, *args], capture_output=True, text=True,
                          timeout=20 * SLOW, check=False, **more)


class Witness:
    """Tells a slow scottyd from a machine that stood still.

    While its with block runs, a thread pinned to each processor sleeps STEP_S over and over and
    notes how much too long that took.
    """

    STEP_S = 0.005

    def __init__(self):
        self.worst_ms = 0
        self.done = threading.Event()
        self.stalls_ms = []  # the longest of each processor
        self.threads = [threading.Thread(target=self._watch, args=(processor,))
                        for processor in os.sched_getaffinity(0)]

    def _watch(self, processor):
        os.sched_setaffinity(0, {processor})  # of this thread only
        worst, before = 0, time.monotonic()
        while not self.done.is_set():
            time.sleep(self.STEP_S)
            now = time.monotonic()
            worst, before = max(worst, now - before - self.STEP_S), now
        self.stalls_ms.append(worst * 1000)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.done.set()
        for thread in self.threads:
            thread.join()
        self.worst_ms = max(self.stalls_ms)


class FigureMissed(AssertionError):
    """What was measured is too slow."""


def check_ms(what, value_ms, limit_ms):
    """The limit is multiplied by SLOW."""
    if value_ms >= limit_ms * SLOW:
        raise FigureMissed(f"{what}: {value_ms:g} ms, at most {limit_ms * SLOW:g} ms are fine")


def check_rate(what, value, least):
    if value < least:
        raise FigureMissed(f"{what}: {value:g}, should be {least:g} or more")


def check_ticks(endpoints, skipped=0):
    """endpoints: of Scottyd.endpoints(); all of them together skipped no more ticks than that."""
    ticks = {e["hostName"]: e["skippedTicks"] for e in endpoints if e["skippedTicks"] > 0}
    if sum(ticks.values()) > skipped:
        raise FigureMissed(f"ticks skipped: {ticks}, {skipped} are fine")


def check_polls(good, least):
    """good: figures of a FleetSim's endpoints; each of them was polled so often."""
    if good["least"] < least:
        raise FigureMissed(f"polls of an endpoint: {good['least']:.0f}, should be {least} or more")


def wait_still(limit_ms, seconds=60):
    """Waits until no processor stands still for limit_ms any more; returns after seconds anyway."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with Witness() as witness:
            time.sleep(3)
        if witness.worst_ms < limit_ms:
            return


def measure(run, limit_ms, tries=5 if not SANITIZED else 2):
    """Returns run(), which checks times of the size of limit_ms, ticks and polls by those above.

    When one of them is missed while a processor stood still for half as long or longer, it was the
    machine that was measured: run is called again once the machine is quieter. Without such a stall
    the miss counts. If each try was disturbed there is no figure: the test is skipped, saying so.
    """
    stalls = []
    for attempt in range(tries):
        if attempt:
            wait_still(limit_ms * SLOW / 2)
        with Witness() as witness:
            try:
                return run()
            except FigureMissed as missed:
                failure = missed
        print(f"{failure}; a processor stood still for {witness.worst_ms:.0f} ms")
        if witness.worst_ms < limit_ms * SLOW / 2:
            raise failure
        stalls.append(f"{witness.worst_ms:.0f}")
    raise unittest.SkipTest(f"no figure: a processor stood still for {', '.join(stalls)} ms "
                            f"while it was measured, {tries} times; last: {failure}")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def ask(port, method, path, body=None, headers=None, address="127.0.0.1", timeout=10):
    conn = http.client.HTTPConnection(address, port, timeout=timeout * SLOW)
    with contextlib.closing(conn):
        conn.request(method, path, body, headers or {})
        answer = conn.getresponse()
        return Answer(answer.status, answer.headers, answer.read().decode())


class Process:
    """A child whose standard error is read line by line."""

    def __init__(self, args):
        self.lines = []
        self.child = subprocess.Popen(args, stderr=subprocess.PIPE, text=True,
                                      start_new_session=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.child.stderr:
            self.lines.append(line.rstrip("\n"))

    def log(self):
        return "\n".join(self.lines)

    def has_line(self, pattern):
        return any(re.search(pattern, line) for line in list(self.lines))

    def wait(self, timeout):
        code = self.child.wait(timeout)
        self.reader.join()
        self.child.stderr.close()
        return code


def cpu_seconds(pid):
    """What a process has computed."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# What belongs into a state directory; registry.db is that of a version before. Set aside: what was
# damaged.
SEGMENT = re.compile(r"journal/\d{12}\.sj")
STATE_FILES = re.compile(SEGMENT.pattern + r"|lock|registry\.db|state\.db(-wal|-shm)?|"
                         r"history/\d{12}\.sh|dead/.+\.jsonl(\.\d)?")
SET_ASIDE = re.compile(r".*\.(damaged|corrupt)-.+")
# One is being written, and one may just be over.
SEGMENTS_OPEN = 2


def state_files(state):
    """{path below it: bytes}"""
    found = {}
    for directory, _, names in os.walk(state):
        for name in names:
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):  # gone meanwhile
                found[os.path.relpath(path, state)] = os.lstat(path).st_size
    return found


def disk_use(state):
    found = state_files(state)
    return f"{len(found)} files of {sum(found.values())} bytes"


def put_file_for_directory(directory, away):
    """
    Moves what is in it away and puts a file in its place. Who has the directory open could go on in
    it if it were moved as a whole; meanwhile files may come, go, or the directory be made anew.
    """
    os.mkdir(away)
    while not os.path.isfile(directory):
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                os.rename(os.path.join(directory, name), os.path.join(away, name))
        with contextlib.suppress(OSError):
            os.rmdir(directory)
            with open(directory, "xb"):
                pass


def litter(state):
    """Files that nobody would ever look at again."""
    return [path for path in state_files(state)
            if not STATE_FILES.fullmatch(path) and not SET_ASIDE.fullmatch(path)]


class Scottyd(Process):
    """A running scottyd with a state directory of its own.

    config is the configuration without listen and stateDir; prefix a command that runs what follows
    it, without a process of its own. Leaving the with block stops it and checks that it ended well,
    and that it had no more threads and open files than when it was ready or reloaded, unless it
    grows: has more to do by then; that nothing of its state is open though deleted, waits to be
    sealed or was set aside since it was ready; and that it leaves no file behind that does not
    belong there. leftovers.py looks at its memory.
    """

    READY_S = 10

    def __init__(self, config, *flags, state=None, listen_address="127.0.0.1", prefix=(),
                 grows=False):
        self.grows = grows
        self.dir = tempfile.mkdtemp(prefix="scottyd-")
        self.state = state or os.path.join(self.dir, "state")
        self.port = free_port(listen_address or "127.0.0.1")
        self.listen = f"{listen_address}:{self.port}"
        self.config_file = os.path.join(self.dir, "scottyd.yaml")
        self.configure(config)
        super().__init__([*prefix, SCOTTYD, "-config", self.config_file, "-listen", self.listen,
                          *flags])
        self.stopped = False
        try:
            eventually(self._is_ready, "ready", self.READY_S)
        except AssertionError:
            self.kill()
            raise AssertionError(f"scottyd did not become ready:\n{self.log()}") from None

    def _is_ready(self):
        if self.child.poll() is not None:
            raise AssertionError("exited")
        if "scottyd: ready" in self.lines:
            self.held = self.holds()
            self.set_aside = self._set_aside()
            return True
        return False

    def _set_aside(self):
        return {path for path in state_files(self.state) if SET_ASIDE.fullmatch(path)}

    def left_on_disk(self):
        """"" if there is nothing; else what."""
        root, left = f"/proc/{self.child.pid}/fd", []
        for fd in os.listdir(root):
            with contextlib.suppress(OSError):
                path = os.readlink(f"{root}/{fd}")
                if path.startswith(self.state + "/") and path.endswith(" (deleted)"):
                    left.append(path)
        left += self._set_aside() - self.set_aside
        waiting = [path for path in state_files(self.state) if SEGMENT.fullmatch(path)]
        if self.seals and len(waiting) > SEGMENTS_OPEN:
            left += waiting
        return " ".join(left)

    def holds(self):
        """How many threads it has, and open files that are no sockets, which are its endpoints'."""
        root = f"/proc/{self.child.pid}"
        files = 0
        for fd in os.listdir(root + "/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                files += not os.readlink(f"{root}/fd/{fd}").startswith("socket:")
        return len(os.listdir(root + "/task")), files

    def growth(self):
        """"" if it has no more than when it was ready: resolvers come and go, and so do a few
        files, of the journal that may have been degraded."""
        threads, files = self.held

        def is_as_before():
            now = self.holds()
            return now[0] <= threads and now[1] <= files + 4

        with contextlib.suppress(AssertionError):
            eventually(is_as_before, "as before")
            eventually(lambda: not self.left_on_disk(), "nothing is left on disk")
            return ""
        return (f"threads and files grew from {self.held} to {self.holds()}; left on disk: "
                f"{self.left_on_disk() or 'nothing'}")

    def configure(self, config):
        """Replaces the configuration file, which takes a SIGHUP to be noticed."""
        whole = {"stateDir": self.state, "mdbFile": "", "store": {"memory": "64MiB"}}
        whole.update(config)
        self.seals = whole["store"].get("diskRetention") not in (0, "0", "0s")
        text = json.dumps(whole, indent=1)
        with open(self.config_file + "~", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.config_file + "~", self.config_file)

    def configure_raw(self, text):
        with open(self.config_file, "w", encoding="utf-8") as f:
            f.write(text)

    def _reloads(self):
        if self.child.poll() is not None:
            raise AssertionError("scottyd is gone")
        pattern = r"configuration (read again|is no good|not taken over)"
        return sum(1 for line in list(self.lines) if re.search(pattern, line))

    def reload(self):
        """Sends SIGHUP and waits until it was dealt with."""
        before = self._reloads()
        self.child.send_signal(signal.SIGHUP)
        eventually(lambda: self._reloads() > before, "reload")
        # There may be more writers now.
        self.held = tuple(map(max, self.held, self.holds()))

    def get(self, path, **more):
        return ask(self.port, "GET", path, **more)

    def get_json(self, path):
        answer = self.get(path)
        if answer.status != 200:
            raise AssertionError(f"GET {path}: {answer.status} {answer.body}")
        return answer.json()

    def endpoints(self):
        """/api/endpoints by (host, app)."""
        return {(e["hostName"], e["appName"]): e for e in self.get_json("/api/endpoints")}

    def value(self, host, app, path):
        """The newest value of one metric, None if there is none."""
        metrics = self.get(f"/api/hosts/{host}/{app}{path}?history=0")
        if metrics.status != 200 or metrics.json() == []:
            return None
        return metrics.json()[0]["values"][0]["value"]

    def status_kib(self, key):
        """A line of /proc/PID/status, such as VmRSS."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            return int(re.search(rf"^{key}:\s+(\d+)", f.read(), re.M).group(1))

    def cpu_seconds(self):
        return cpu_seconds(self.child.pid)

    def open_files(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def stop(self, sig=signal.SIGTERM):
        """Ends it; returns (exit code, seconds taken)."""
        self.stopped = True
        begin = time.monotonic()
        self.child.send_signal(sig)
        try:
            code = self.wait(30 * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"scottyd does not stop:\n{self.log()}") from None
        return code, time.monotonic() - begin

    def kill(self):
        self.stopped = True
        if self.child.poll() is None:
            self.child.kill()
        self.wait(None)
        shutil.rmtree(self.dir, ignore_errors=True)

    def check_log(self):
        if COMPLAINTS.search(self.log()):
            raise AssertionError(f"scottyd complains:\n{self.log()}")

    def check_no_child_left(self):
        """It was made the leader of a session: nobody may be left in that."""
        try:
            os.killpg(self.child.pid, 0)
        except ProcessLookupError:
            return
        raise AssertionError("scottyd left processes behind")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            if not self.stopped:
                growth = "" if self.grows or kind is not None else self.growth()
                code, _ = self.stop()
                if code != 0 and kind is None:
                    raise AssertionError(f"scottyd exited with {code}:\n{self.log()}")
                if growth:
                    raise AssertionError(growth)
                if kind is None and litter(self.state):
                    raise AssertionError(f"left in {self.state}: {litter(self.state)}")
            self.check_log()
            self.check_no_child_left()
        finally:
            if kind is not None:
                print(f"log of scottyd:\n{self.log()}")
            shutil.rmtree(self.dir, ignore_errors=True)


class FleetSim(Process):
    """A running fleet_sim; statistics by name once it was stopped."""

    def __init__(self, *flags):
        super().__init__(["sh", "-c", 'exec "$0" "$@" >&2', FLEET_SIM, *flags])
        try:
            eventually(lambda: "ready" in self.lines or self.child.poll() is not None, "fleet_sim")
            if self.child.poll() is not None:
                raise AssertionError(f"fleet_sim did not start: {self.log()}")
        except AssertionError:
            self.child.kill()
            self.wait(None)
            raise

    def stop(self):
        """{(name, behaviour): {"polls": n, "least": n, "p99_ms": x, "max_ms": x, ...}}

        Of all since the start or the last call of figures.
        """
        begin = len(self.lines)
        self.child.send_signal(signal.SIGTERM)
        if self.wait(10 * SLOW) != 0:
            raise AssertionError(f"fleet_sim failed:\n{self.log()}")
        return self._stats(begin)

    def figures(self):
        """The same without the single endpoints, and it goes on; then counts anew."""
        begin = len(self.lines)
        self.child.send_signal(signal.SIGUSR1)
        eventually(lambda: any(line.startswith("process ") for line in self.lines[begin:]),
                   "figures of fleet_sim")
        return self._stats(begin)

    def _stats(self, begin):
        stats = {}
        for line in self.lines[begin:]:
            name, *fields = line.split()
            row = dict(field.split("=") for field in fields)
            behaviour = row.pop("behaviour")
            stats[name, behaviour] = {k: float(v) for k, v in row.items()}
        return stats

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.child.poll() is None:
            self.child.kill()
            self.wait(None)


class HttpServer(http.server.ThreadingHTTPServer):
    """A thread for each connection, which the other side may leave at any time."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class Endpoint:
    """A tricorder endpoint with the given metrics, which may be replaced at any time."""

    def __init__(self, metrics=(), address="127.0.0.1", port=0):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                with outer.lock:
                    body = outer.body
                    outer.requests += 1
                    outer.paths.append(self.path)
                    outer.changed.notify_all()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.requests = 0
        self.paths = []
        self.body = b"[]"
        self.publish(metrics)
        self.server = HttpServer((address, port or free_port(address)), Handler)
        self.address, self.port = self.server.server_address
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def publish(self, metrics):
        """Metrics (a list, or the bytes of the answer) from now on."""
        body = metrics if isinstance(metrics, bytes) else json.dumps(list(metrics)).encode()
        with self.lock:
            self.body = body

    def wait_polled(self, times=2):
        """Until so many more requests came: the answer to the one before the last was taken in."""
        with self.lock:
            wanted = self.requests + times
            if not self.changed.wait_for(lambda: self.requests >= wanted, 10 * SLOW):
                raise AssertionError("endpoint is not polled")

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def element(self, host, app, interval="100ms", **more):
        """An element of `endpoints`."""
        return {"host": host, "app": app, "address": self.address, "port": self.port,
                "interval": interval, **more}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()


# Metrics of one group must agree on their time.
NOW = f"{time.time():.9f}"


def metric(path, kind, value, ts=NOW, group=0, unit="None", bits=None):
    """An element of a tricorder answer."""
    m = {"path": path, "description": path.rsplit("/", 1)[1], "unit": unit, "kind": kind}
    if bits is not None:
        m["bits"] = bits
    m["value"] = value
    m["timestamp"] = ts
    m["groupId"] = group
    return m


def main():
    unittest.main(verbosity=2)
