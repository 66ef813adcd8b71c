"""All that net-snmp's programs print of Debian's snmpd is in /api/hosts: same values, same types."""
import ctypes
import fcntl
import os
import re
import socket
import struct
import time
import unittest

import scottyd_proc as sp
import snmp_agents as agents

MIB2 = "1.3.6.1.2.1"
# What net-snmp's agent has beside it: memory, load, disks, statistics, extensions.
ROOTS = [MIB2, "1.3.6.1.4.1.2021", "1.3.6.1.4.1.8072.1.3.2"]
SUBTREES = {"system": "1.3.6.1.2.1.1", "interfaces": "1.3.6.1.2.1.2", "ip": "1.3.6.1.2.1.4",
            "tcp": "1.3.6.1.2.1.6", "udp": "1.3.6.1.2.1.7", "host": "1.3.6.1.2.1.25",
            "ifXTable": "1.3.6.1.2.1.31.1.1", "ucd": "1.3.6.1.4.1.2021"}
# Each user walks these.
FEW = ["system", "ifTable", "ifXTable"]
FEW_OIDS = ["1.3.6.1.2.1.1", "1.3.6.1.2.1.2.2", "1.3.6.1.2.1.31.1.1"]


def as_date(value):
    """A date's numbers, from octets as net-snmp prints them or from its display hint."""
    if "-" in value:
        return tuple(int(number) for number in re.findall(r"[0-9]+", value))
    octets = bytes.fromhex(value)
    return (octets[0] * 256 + octets[1], *octets[2:8], *octets[9:])


def enter_own_network():
    """Other tests' thousands of sockets make snmpd's tables too slow to walk. True if it worked."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_net, up, set_flags = 0x10000000, 0x40000000, 1, 0x8914
    if libc.unshare(new_net) != 0 and libc.unshare(new_user | new_net) != 0:
        return False
    with socket.socket() as sock:
        fcntl.ioctl(sock, set_flags, struct.pack("16sh14x", b"lo", up))
    return True


def is_right(metric, before, after):
    """True if the metric is what one of two walks printed, or between them."""
    (kind, _), value = before, metric["values"][0]["value"]
    if metric["kind"] != agents.KINDS[kind]:
        return False
    old, new = agents.shown(*before), agents.shown(*after)
    # Display hints, which net-snmp's programs would need MIB files for.
    if metric["path"].endswith("/phys-address"):
        old, new = (":".join(text.lower().split()) for text in (old, new))
    if metric["path"].endswith("date"):
        return as_date(old) <= as_date(value) <= as_date(new)
    if kind == "Opaque":
        return min(old, new) - 0.01 <= value <= max(old, new) + 0.01
    # A gauge, though it is typed as a counter: it may have been a third value in between.
    if metric["path"].startswith("/snmp/ucd/memory/") and kind == "Counter64":
        return min(old, new) * 0.75 <= value <= max(old, new) * 1.25
    if kind in ("Counter32", "Counter64"):
        wrap = 1 << int(kind[-2:])
        return (value - old) % wrap <= (new - old) % wrap
    if kind == "Timeticks":
        return float(old) <= float(value) <= float(new) or value in (old, new)
    # A gauge on its way from one to the other.
    if kind in ("INTEGER", "Gauge32") and min(int(old), int(new)) <= int(value) <= max(int(old), int(new)):
        return True
    # Text that differs, such as a clock's, may have been a third one in between.
    return value in (old, new) or (kind == "STRING" and old != new and value != "")


class AgainstSnmpd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.alone = enter_own_network()
        cls.agent = agents.Snmpd()
        cls.addClassCleanup(cls.agent.__exit__, None, None, None)

    def wait_another(self, scottyd):
        """Until of each endpoint a poll that began after now was taken in: the second from here."""
        for _ in range(2):
            polled = {name: e["lastPoll"] for name, e in scottyd.endpoints().items()}
            deadline = time.monotonic() + 60 * sp.SLOW
            while polled:
                # Each look leaves a socket in the tables that are walked, so there are few.
                time.sleep(0.2)
                self.assertLess(time.monotonic(), deadline, f"not polled again: {polled}")
                now = scottyd.endpoints()
                polled = {n: last for n, last in polled.items() if now[n]["lastPoll"] == last}

    def compare(self, scottyd, walks):
        """walks: {host: arguments of Snmpd.walk}. Checks all, returns the varbinds by host."""
        wrong = None
        # A gauge may have had a third value in between, but hardly each time.
        for _ in range(6):
            before = {host: self.agent.walk(*walk[0], **walk[1]) for host, walk in walks.items()}
            self.wait_another(scottyd)
            metrics = {host: agents.by_oid(scottyd, host) for host in walks}
            after = {host: self.agent.walk(*walk[0], **walk[1]) for host, walk in walks.items()}
            now = {}
            for host in walks:
                for oid in before[host].keys() & after[host].keys():
                    have = metrics[host].get(oid), before[host][oid], after[host][oid]
                    if have[0] is None or not is_right(*have):
                        now[host, oid] = have
            wrong = now if wrong is None else {k: now[k] for k in wrong.keys() & now.keys()}
            if not wrong:
                return {host: before[host].keys() & after[host].keys() for host in walks}
        some = "\n".join(f"{key}: {have}" for key, have in list(wrong.items())[:20])
        raise AssertionError(f"{len(wrong)} are wrong, such as\n{some}")

    def test_all_of_the_tree_in_each_version(self):
        roots = ROOTS
        if not self.alone:
            print("no network of its own, so without the tables of sockets")
            roots = [oid for name, oid in SUBTREES.items() if name not in ("tcp", "udp")]
        walks = {"v1": (roots, {"flags": ["-v1", "-c", "public"], "program": "snmpwalk"}),
                 "v2c": (roots, {}),
                 "v3": (roots, {"flags": agents.user_flags("sha256aes")})}
        options = {"v1": {"version": "1"}, "v2c": {}, "v3": agents.user_options("sha256aes")}
        eps = [agents.endpoint(host, self.agent.port, interval="3s", walk=roots, timeout="5s",
                               **options[host]) for host in walks]
        with sp.Scottyd({"endpoints": eps, "store": {"memory": "256MiB"}, "collection": {
                "pollTimeout": "60s", "connectTimeout": "10s"}}) as scottyd:
            agents.wait_synced(scottyd, *walks, seconds=60)
            for host, oids in self.compare(scottyd, walks).items():
                counts = {name: sum(o.startswith(oid + ".") for o in oids)
                          for name, oid in SUBTREES.items()}
                print(f"{host}: {len(oids)} varbinds, {counts}")
                for name, count in counts.items():
                    if self.alone or name not in ("tcp", "udp"):
                        self.assertGreater(count, 5, name)
                self.assertEqual(scottyd.endpoints()[host, "snmp"]["badMetrics"], 0)

    def test_each_pair_of_protocols(self):
        eps = [agents.endpoint(user, self.agent.port, walk=FEW, interval="1s",
                               **agents.user_options(user)) for user in agents.USERS]
        walks = {user: (FEW_OIDS, {"flags": agents.user_flags(user)}) for user in agents.USERS}
        with sp.Scottyd({"endpoints": eps}) as scottyd:
            agents.wait_synced(scottyd, *agents.USERS)
            for user, oids in self.compare(scottyd, walks).items():
                self.assertGreater(len(oids), 50, user)


if __name__ == "__main__":
    sp.main()
