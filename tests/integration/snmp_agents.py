"""SNMP agents for the tests: Debian's snmpd, snmpsim, and snmp_sim, the many in one process."""
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

import scottyd_proc as sp

AUTH, PRIV = "authpass123", "privpass123"
AUTHS = ("MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512")
# scottyd's word: net-snmp's. Those that end in C extend short keys in Cisco's way.
PRIVS = {"DES": "DES", "AES": "AES", "AES-192": "AES-192", "AES-256": "AES-256",
         "AES-192C": "AES-192-C", "AES-256C": "AES-256-C"}
# user: (authProtocol, privProtocol); None = not used
USERS = {"nobody": (None, None)}
for _auth in AUTHS:
    USERS[_auth.lower().replace("-", "")] = (_auth, None)
    for _priv in PRIVS:
        USERS[(_auth + _priv).lower().replace("-", "")] = (_auth, _priv)


def need(*programs):
    """Skips the test, saying why, where one of the programs is missing."""
    for program in programs:
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            raise unittest.SkipTest(f"{program} is not installed")


def user_options(user):
    auth, priv = USERS[user]
    options = {"version": "3", "user": user}
    if auth:
        options.update(authProtocol=auth, authPassword=AUTH)
    if priv:
        options.update(privProtocol=priv, privPassword=PRIV)
    return options


def user_flags(user):
    """What net-snmp's programs want for the same."""
    auth, priv = USERS[user]
    level = "authPriv" if priv else "authNoPriv" if auth else "noAuthNoPriv"
    flags = ["-v3", "-u", user, "-l", level]
    if auth:
        flags += ["-a", auth, "-A", AUTH]
    if priv:
        flags += ["-x", PRIVS[priv], "-X", PRIV]
    return flags


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def endpoint(host, port, address="127.0.0.1", interval="500ms", **options):
    return {"host": host, "app": "snmp", "address": address, "port": port, "source": "snmp",
            "interval": interval, "options": options}


def by_oid(scottyd, host):
    """{oid: metric} of an endpoint."""
    metrics = scottyd.get_json(f"/api/hosts/{host}/snmp/?history=0")
    return {m["tags"]["oid"]: m for m in metrics if "tags" in m and m["values"][0]["active"]}


def error(scottyd, host):
    return scottyd.endpoints()[host, "snmp"]["error"]


def wait_synced(scottyd, *hosts, seconds=20):
    for host in hosts:
        sp.eventually(lambda: scottyd.endpoints()[host, "snmp"]["metricCount"] > 0,
                      f"{host}: {error(scottyd, host)}", seconds)


class Snmpd:
    """A running snmpd, its state in a directory of its own; restart() keeps that."""

    def __init__(self):
        need("snmpd", "snmpget", "snmpbulkwalk")
        self.dir = tempfile.mkdtemp(prefix="snmpd-")
        self.port = free_udp_port()
        lines = [f"agentaddress udp:127.0.0.1:{self.port}", "rocommunity public 127.0.0.1",
                 "sysLocation here", "sysContact nobody", "sysName agent",
                 "extend hello /bin/echo hi", "load 90", "view narrow included .1.3.6.1.2.1.1",
                 f"createUser narrow SHA {AUTH} AES {PRIV}", "rouser narrow priv -V narrow"]
        for user, (auth, priv) in USERS.items():
            secret = f" {auth} {AUTH}" if auth else ""
            secret += f" {PRIVS[priv]} {PRIV}" if priv else ""
            lines.append(f"createUser {user}{secret}")
            lines.append(f"rouser {user} {'priv' if priv else 'auth' if auth else 'noauth'}")
        with open(os.path.join(self.dir, "snmpd.conf"), "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        self.start()

    def start(self):
        env = dict(os.environ, MIBS="", SNMP_PERSISTENT_DIR=os.path.join(self.dir, "state"),
                   PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        self.child = subprocess.Popen(
            ["snmpd", "-f", "-Lf", os.path.join(self.dir, "log"), "-C", "-c",
             os.path.join(self.dir, "snmpd.conf")], env=env)
        sp.eventually(lambda: self.get("1.3.6.1.2.1.1.5.0"), "snmpd answers", 20)

    def stop(self):
        self.child.terminate()
        self.child.wait()

    def restart(self):
        self.stop()
        self.start()

    def replace(self):
        """Another agent in its place: another engine id, boots from 1 on."""
        self.stop()
        shutil.rmtree(os.path.join(self.dir, "state"))
        self.start()

    def run(self, program, *args):
        env = dict(os.environ, MIBS="", SNMP_PERSISTENT_DIR=os.path.join(self.dir, "client"))
        return subprocess.run([program, *args], env=env, capture_output=True, text=True,
                              check=False).stdout

    def get(self, oid):
        return self.run("snmpget", "-v2c", "-c", "public", "-r0", "-t1", "-On",
                        f"127.0.0.1:{self.port}", oid)

    def walk(self, *roots, flags=("-v2c", "-c", "public"), program="snmpbulkwalk"):
        """{oid: (type, value)} as net-snmp's program prints them."""
        text = "".join(self.run(program, *flags, "-On", "-Ont", f"127.0.0.1:{self.port}", root)
                       for root in roots)
        return parse_walk(text)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def parse_walk(text):
    values, last = {}, None
    for line in text.splitlines():
        match = re.match(r"\.([0-9.]+) = (.*)", line)
        if not match:
            if last is not None:  # a string of several lines
                values[last] = (values[last][0], values[last][1] + "\n" + line)
            continue
        last, value = match.groups()
        if value.startswith(("No Such", "No more")):
            last = None
            continue
        kind, colon, rest = value.partition(": ")
        if value == '""':
            kind, rest = "STRING", '""'
        elif not colon and re.fullmatch(r"\d+", value):  # -Ont: time ticks are bare
            kind, rest = "Timeticks", value
        values[last] = (kind, rest)
    return values


KINDS = {"INTEGER": "int32", "Counter32": "uint32", "Gauge32": "uint32", "Counter64": "uint64",
         "Timeticks": "duration", "STRING": "string", "Hex-STRING": "string", "OID": "string",
         "IpAddress": "string", "Network Address": "string", "BITS": "string",
         "Opaque": "float32"}


def shown(kind, value):
    """What scottyd makes of a value that net-snmp's program prints."""
    if kind in ("INTEGER", "Counter32", "Gauge32", "Counter64"):
        return int(value)
    if kind == "Timeticks":
        ticks = int(value)
        return f"{ticks // 100}.{ticks % 100:02}0000000"
    if kind == "OID":
        return value.lstrip(".")
    if kind == "Opaque":
        return float(value.removeprefix("Float: "))
    if kind == "STRING":
        return re.sub(r"\\(.)", r"\1", value.strip().removeprefix('"').removesuffix('"'))
    return value.strip()


class Sim:
    """A running snmp_sim: agent i is at 127.1.0.0 + i, port self.port."""

    def __init__(self, n, *flags):
        self.port = sp.free_port()
        self.child = subprocess.Popen(
            [os.path.join(sp.BIN, "snmp_sim"), "-n", str(n), "-base", str(self.port), *flags],
            stdout=subprocess.PIPE, text=True)
        if self.child.stdout.readline() != "ready\n":
            raise AssertionError("snmp_sim did not start")

    @staticmethod
    def address(i):
        return f"127.1.{i >> 8}.{i & 255}"

    def stop(self):
        """{behaviour: {...}} and, under "", the totals."""
        self.child.terminate()
        stats = {}
        for line in self.child.communicate()[0].splitlines():
            row = dict(word.split("=") for word in line.split() if "=" in word)
            behaviour = row.pop("behaviour", "")
            stats[behaviour] = {k: float(v) for k, v in row.items()}
        return stats

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.child.poll() is None:
            self.child.kill()
            self.child.communicate()
        self.child.stdout.close()


# Agents of a few lines, for what no program does on request.

def ber(tag, *parts):
    content = b"".join(parts)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    return bytes([tag, 0x82]) + struct.pack(">H", len(content)) + content


def ber_int(number, tag=2):
    size = max(1, number.bit_length() // 8 + 1)
    return ber(tag, number.to_bytes(size, "big", signed=True))


def ber_oid(oid):
    ids = [int(part) for part in oid.split(".")]
    content = bytes([ids[0] * 40 + ids[1]])
    for number in ids[2:]:
        some = [number & 0x7f]
        while number := number >> 7:
            some.insert(0, number & 0x7f | 0x80)
        content += bytes(some)
    return ber(6, content)


def unber(data):
    """[(tag, content)] of what is in data, one level deep."""
    items, at = [], 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            size, at = (int.from_bytes(data[at:at + (size & 0x7f)], "big"),
                        at + (size & 0x7f))
        items.append((tag, data[at:at + size]))
        at += size
    return items


def parse_oid(content):
    ids, number = [content[0] // 40, content[0] % 40], 0
    for byte in content[1:]:
        number = number << 7 | byte & 0x7f
        if not byte & 0x80:
            ids.append(number)
            number = 0
    return tuple(ids)


class Scripted:
    """An agent in this process: answer(datagram) gives the datagram to send, or None."""

    def __init__(self, answer):
        self.answer = answer
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            data, sender = self.sock.recvfrom(65536)
            if not data:
                return
            answer = self.answer(data)
            if answer:
                self.sock.sendto(answer, sender)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join()
        self.sock.close()


def v2c_agent(values):
    """Answers GET and GETBULK; values() gives {oid: a value as BER} anew for each request."""
    def answer(data):
        version, community, (_, pdu) = unber(unber(data)[0][1])
        kind = unber(unber(data)[0][1])[2][0]
        request, count, most, binds = (content for _, content in unber(pdu))
        count, most = int.from_bytes(count, "big"), int.from_bytes(most, "big")
        asked = [parse_oid(unber(bind)[0][1]) for _, bind in unber(binds)]
        table = {tuple(map(int, oid.split("."))): value for oid, value in values().items()}
        names, out = sorted(table), []

        def after(oid):
            return next((name for name in names if name > oid), None)

        def put(oid, value):
            out.append(ber(0x30, ber_oid(".".join(map(str, oid))), value))

        if kind == 0xa0:
            for oid in asked:
                put(oid, table.get(oid, ber(0x81)))
        else:
            rounds = [asked[:count]] + [asked[count:]] * most
            last = {}
            for i, oids in enumerate(rounds):
                for n, oid in enumerate(oids):
                    key = (i > 0, n)
                    start = last.get(key, oid)
                    name = after(start)
                    put(name or start, table[name] if name else ber(0x82))
                    last[key] = name or start
        return ber(0x30, ber(2, version[1]), ber(4, community[1]),
                   ber(0xa2, ber(2, request), ber_int(0), ber_int(0), ber(0x30, *out)))
    return Scripted(answer)


def fickle_engine():
    """A version 3 agent that always says it is another engine."""
    number = [0]

    def answer(data):
        number[0] += 1
        message_id = unber(unber(unber(data)[0][1])[1][1])[0][1]
        engine = ber(4, b"\x80\0\0\0\5" + struct.pack(">I", number[0]))
        report = ber(0xa8, ber_int(0), ber_int(0), ber_int(0), ber(0x30, ber(
            0x30, ber_oid("1.3.6.1.6.3.15.1.1.4.0"), ber_int(1, 0x41))))
        return ber(0x30, ber_int(3),
                   ber(0x30, ber(2, message_id), ber_int(65507), ber(4, b"\0"), ber_int(3)),
                   ber(4, ber(0x30, engine, ber_int(1), ber_int(1), ber(4), ber(4), ber(4))),
                   ber(0x30, engine, ber(4), report))
    return Scripted(answer)
