"""Machines from the machine list, applications from what their health agents announce.

Health agents listen on the fixed port 6910, so each machine gets a loopback address of its own,
chosen at random for several runs at a time.
"""
import json
import os
import random
import tempfile
import unittest

import scottyd_proc as sp

HEALTH_AGENT_PORT = 6910
AGENT = "health agent"


def own_address():
    return f"127.{random.randrange(2, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"


def announcement(**ports):
    """What a health agent publishes to announce applications with these ports."""
    metrics = []
    for name, port in sorted(ports.items()):
        metrics.append(sp.metric(f"/health-checks/{name}/has-tricorder-metrics", "bool", True))
        metrics.append(sp.metric(f"/health-checks/{name}/port-number", "uint16", port, bits=16))
    return metrics


class Mdb(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="scottyd-mdb-")
        self.addCleanup(directory.cleanup)
        self.file = os.path.join(directory.name, "mdb")
        self.ip = own_address()
        self.web = self.endpoint([sp.metric("/a", "int32", 2, bits=32)], self.ip)
        self.agent = self.endpoint(announcement(web=self.web.port), self.ip, HEALTH_AGENT_PORT)

    def endpoint(self, metrics, address="127.0.0.1", port=0):
        endpoint = sp.Endpoint(metrics, address, port)
        self.addCleanup(endpoint.close)
        return endpoint

    def write(self, *machines, in_place=False):
        """Each machine is (host name, IP address)."""
        text = json.dumps([{"Hostname": host, "IpAddress": ip,
                            "AwsMetadata": {"Region": "us-east-1", "Tags": {}}}
                           for host, ip in machines])
        self.write_raw(text, in_place)

    def write_raw(self, text, in_place=False):
        path = self.file if in_place else self.file + "~"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        if not in_place:
            os.rename(path, self.file)

    def start(self, *machines):
        self.write(*machines)
        scottyd = sp.Scottyd({"mdbFile": self.file, "collection": {"frequency": "200ms"}})
        self.addCleanup(scottyd.__exit__, None, None, None)
        return scottyd

    def is_active(self, scottyd, host, app):
        return scottyd.endpoints().get((host, app), {"active": False})["active"]

    def await_active(self, scottyd, host, app, wanted=True):
        sp.eventually(lambda: self.is_active(scottyd, host, app) == wanted,
                      f"{host}/{app} {'active' if wanted else 'inactive'}")

    def await_value(self, scottyd, host, value):
        sp.eventually(lambda: scottyd.value(host, "web", "/a") == value, f"/a of {host} is {value}")

    def test_announced_applications_are_polled(self):
        scottyd = self.start(("m1", self.ip))
        self.await_value(scottyd, "m1", 2)
        endpoints = scottyd.endpoints()
        self.assertEqual(sorted(endpoints), [("m1", AGENT), ("m1", "web")])
        agent, web = endpoints["m1", AGENT], endpoints["m1", "web"]
        self.assertEqual((agent["origin"], agent["port"], agent["address"]),
                         ("mdb", HEALTH_AGENT_PORT, self.ip))
        self.assertEqual((web["origin"], web["port"], web["address"]),
                         ("health-checks", self.web.port, self.ip))

    def test_three_observations_without_it_end_an_application(self):
        scottyd = self.start(("m1", self.ip))
        self.await_value(scottyd, "m1", 2)
        before = self.agent.requests
        self.agent.publish(announcement())
        self.await_active(scottyd, "m1", "web", False)
        # One of the requests may have been answered before.
        self.assertGreaterEqual(self.agent.requests, before + 3)
        self.assertTrue(self.is_active(scottyd, "m1", AGENT))
        self.assertEqual([v["active"] for v in
                          scottyd.get_json("/api/hosts/m1/web/a")[0]["values"]], [False, True])
        self.agent.publish(announcement(web=self.web.port))
        self.await_active(scottyd, "m1", "web")

    def test_one_observation_without_it_does_not_end_an_application(self):
        scottyd = self.start(("m1", self.ip))
        self.await_value(scottyd, "m1", 2)
        requests = self.web.requests
        for _ in range(3):
            self.agent.publish(announcement())
            self.agent.wait_polled(1)
            self.agent.publish(announcement(web=self.web.port))
            self.agent.wait_polled(2)
            self.assertTrue(self.is_active(scottyd, "m1", "web"))
        self.assertGreater(self.web.requests, requests + 5)

    def test_port_change_is_followed(self):
        scottyd = self.start(("m1", self.ip))
        self.await_value(scottyd, "m1", 2)
        later = f"{float(sp.NOW) + 1:.9f}"
        second = self.endpoint([sp.metric("/a", "int32", 3, later, bits=32)], self.ip)
        self.agent.publish(announcement(web=second.port))
        self.await_value(scottyd, "m1", 3)

    def test_address_change_is_followed(self):
        scottyd = self.start(("m1", self.ip))
        self.await_value(scottyd, "m1", 2)
        ip = own_address()
        later = f"{float(sp.NOW) + 1:.9f}"
        self.endpoint(announcement(web=self.web.port), ip, HEALTH_AGENT_PORT)
        self.endpoint([sp.metric("/a", "int32", 4, later, bits=32)], ip, self.web.port)
        self.write(("m1", ip))
        self.await_value(scottyd, "m1", 4)
        self.assertEqual({e["address"] for e in scottyd.endpoints().values()}, {ip})

    def test_every_way_of_writing_the_file_is_noticed(self):
        scottyd = self.start(("m1", self.ip))
        for i, in_place in enumerate((True, False, True, False), 2):
            self.write(("m1", self.ip), (f"m{i}", own_address()), in_place=in_place)
            self.await_active(scottyd, f"m{i}", AGENT)

    def test_a_file_that_makes_no_sense_changes_nothing(self):
        scottyd = self.start(("m1", self.ip))
        self.await_value(scottyd, "m1", 2)
        for text in ('[{"Hostname": "m1"', "{}", "nonsense", ""):
            self.write_raw(text)
            scottyd.reload()
            self.assertTrue(self.is_active(scottyd, "m1", "web"))
        sp.eventually(lambda: scottyd.has_line(rf"fleet: .*{self.file}"), "complaint")
        os.unlink(self.file)
        self.agent.wait_polled(5)
        self.assertTrue(self.is_active(scottyd, "m1", "web"))
        self.write(("m1", self.ip), ("m9", own_address()))
        self.await_active(scottyd, "m9", AGENT)

    def test_a_machine_that_leaves_is_inactive_and_may_come_back(self):
        other = own_address()
        scottyd = self.start(("m1", self.ip), ("m2", other))
        self.await_value(scottyd, "m1", 2)
        self.write(("m2", other))
        self.await_active(scottyd, "m1", AGENT, False)
        self.await_active(scottyd, "m1", "web", False)
        self.assertEqual(scottyd.get_json("/api/latest/"), [])
        self.assertEqual(scottyd.value("m1", "web", "/a"), 0)  # the marker's
        self.write(("m1", self.ip), ("m2", other))
        self.await_active(scottyd, "m1", "web")

    def test_sighup_reads_the_list_again(self):
        scottyd = self.start(("m1", self.ip))
        self.await_value(scottyd, "m1", 2)
        self.write(("m1", self.ip), ("m2", own_address()))
        scottyd.reload()  # the list is read a moment after the configuration
        self.await_active(scottyd, "m2", AGENT)

    def test_scottyd_on_a_machine_of_the_list_polls_itself(self):
        scottyd = self.start(("me", "127.0.0.1"))
        self.await_active(scottyd, "me", "scotty")
        me = lambda: scottyd.endpoints()["me", "scotty"]
        sp.eventually(lambda: me()["state"] == "synced", "polled itself")
        self.assertEqual((me()["origin"], me()["source"], me()["badMetrics"]), ("self", "self", 0))


if __name__ == "__main__":
    sp.main()
