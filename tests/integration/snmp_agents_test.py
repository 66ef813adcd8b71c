"""SNMP agents that misbehave, each in its own way, and agents of snmpsim that delay, err and wrap."""
import os
import shutil
import subprocess
import tempfile
import unittest
import urllib.parse

import scottyd_proc as sp
import snmp_agents as agents

ROWS, COLUMNS = 10, 10
MANY = 1000  # of snmpsim's


class BadAgents(unittest.TestCase):
    def poll(self, flag, check, state="synced", error="", **options):
        """Polls one bad agent beside a good one until check(its endpoint) holds: {path: value}."""
        options = {"walk": "ifTable", "timeout": "100ms", **options}
        with agents.Sim(2, f"-{flag}", "1") as sim:
            eps = [agents.endpoint(host, sim.port, sim.address(i), **options)
                   for i, host in enumerate(("good", "bad"))]
            with sp.Scottyd({"endpoints": eps}) as scottyd:
                def checked():
                    bad = scottyd.endpoints()["bad", "snmp"]
                    return bad if check(bad) and bad["state"] == state else None
                bad = sp.eventually(checked, f"{flag}", 20)
                self.assertFalse(scottyd.endpoints()["good", "snmp"]["down"])
                self.assertEqual(bad["error"],
                                 error.format(where=f"snmp {sim.address(1)}:{sim.port}"))
                return {m["path"]: m["values"][0]["value"] for m in
                        scottyd.get_json("/api/hosts/bad/snmp/?history=0")}

    def check_fails(self, flag, state, error):
        """The bad agent's polls fail so, and nothing of them is kept."""
        self.assertEqual(self.poll(flag, lambda e: e["down"], state, "{where}: " + error), {})

    def check_whole(self, metrics):
        rows = [path for path in metrics if path.startswith("/snmp/if/GigabitEthernet0_")]
        self.assertEqual(len(rows), ROWS * COLUMNS)

    SILENT = ("1.3.6.1.2.1.2.2: timed out after 4 tries of 0.1 s "
              "(host down, port closed or wrong community)")

    def test_dead(self):
        self.check_fails("dead", "failed to connect", self.SILENT)

    def test_too_big_makes_requests_smaller(self):
        metrics = self.poll("toobig", lambda e: e["metricCount"] > 0)
        self.check_whole(metrics)

    def test_silence_to_large_requests_makes_them_smaller(self):
        # The first poll tries each size once per request, so it takes long; later ones do not.
        with agents.Sim(1, "-silent", "1") as sim:
            ep = agents.endpoint("bad", sim.port, sim.address(0), walk="ifTable", timeout="100ms",
                                 interval="3s")
            with sp.Scottyd({"endpoints": [ep]}) as scottyd:
                first = sp.eventually(lambda: scottyd.endpoints()["bad", "snmp"]["pollSeconds"],
                                      "first poll", 20)
                later = sp.eventually(
                    lambda: 0 < scottyd.endpoints()["bad", "snmp"]["pollSeconds"] < first / 4,
                    "a faster poll", 20)
                self.assertTrue(later)
                self.assertFalse(scottyd.has_line("endpoint failed"))

    def test_a_fifth_of_all_packets_lost(self):
        self.check_whole(self.poll("lossy", lambda e: e["metricCount"] > 0))

    def test_objects_that_do_not_increase(self):
        self.check_fails("looping", "failed to poll", "1.3.6.1.2.1.1.6.0 does not increase: "
                  "it came after 1.3.6.1.2.1.2.2.1.2.4")

    def test_a_table_without_end(self):
        with agents.Sim(1, "-endless", "1") as sim:
            ep = agents.endpoint("bad", sim.port, sim.address(0), walk="ifTable")
            with sp.Scottyd({"endpoints": [ep], "collection": {
                    "pollTimeout": "500ms", "maxResponse": "8MiB"}}) as scottyd:
                bad = sp.eventually(lambda: [e for e in scottyd.endpoints().values() if e["down"]
                                             and e["state"] == "failed to poll"],
                                    "poll given up")[0]
                self.assertRegex(bad["error"], "timed out after 0.5 s|larger than 8388608")
                self.assertEqual(scottyd.get_json("/api/hosts/bad/snmp/?history=0"), [])

    def test_garbage_is_silence(self):
        self.check_fails("garbage", "failed to connect", self.SILENT)

    def test_an_error_names_the_subtree(self):
        self.check_fails("generr", "failed to poll", "1.3.6.1.2.1.2.2: agent answered genErr")

    def test_restarts_are_counted(self):
        self.poll("reboot", lambda e: e["metricCount"] > 0)
        with agents.Sim(1, "-reboot", "1") as sim:
            ep = agents.endpoint("bad", sim.port, sim.address(0), walk="ifTable", interval="200ms")
            with sp.Scottyd({"endpoints": [ep]}) as scottyd:
                sp.eventually(
                    lambda: (scottyd.value("bad", "snmp", "/snmp/agent/restarts") or 0) >= 2,
                    "two restarts")

    def test_an_engine_that_is_never_the_same(self):
        with agents.fickle_engine() as agent:
            ep = agents.endpoint("bad", agent.port, **agents.user_options("sha256aes"))
            with sp.Scottyd({"endpoints": [ep]}) as scottyd:
                bad = sp.eventually(lambda: [e for e in scottyd.endpoints().values() if e["down"]],
                                    "poll given up")[0]
                self.assertEqual(bad["error"], f"snmp 127.0.0.1:{agent.port}: agent's engine id "
                                 "or clock changes all the time")
                self.assertEqual(bad["state"], "failed to poll")

    def test_own_metrics_count_retries_and_timeouts(self):
        with agents.Sim(2, "-dead", "1") as sim:
            eps = [agents.endpoint(host, sim.port, sim.address(i), walk="ifTable", retries=2,
                                   timeout="50ms") for i, host in enumerate(("good", "dead"))]
            with sp.Scottyd({"endpoints": eps}) as scottyd:
                def own(name):
                    return scottyd.get_json(f"/metricsapi/collector/snmp/{name}")[0]["value"]
                sp.eventually(lambda: own("timeouts") >= 2 and own("receivedBytes") > 1000,
                              "counted")
                self.assertGreaterEqual(own("retries"), 2 * own("timeouts"))
                self.assertGreater(own("requests"), own("timeouts"))
                self.assertGreater(own("sentBytes"), 20 * own("requests"))

    def test_version_1_leaves_out_what_is_not_there(self):
        options = {"version": "1", "walk": "ifInOctets",
                   "get": ["sysName.0", "1.3.6.1.2.1.1.99.0", "sysLocation.0", "1.3.6.1.5.5.0"]}
        with agents.Sim(1) as sim:
            ep = agents.endpoint("old", sim.port, sim.address(0), **options)
            with sp.Scottyd({"endpoints": [ep]}) as scottyd:
                sp.eventually(lambda: scottyd.endpoints()["old", "snmp"]["metricCount"], "polled")
                paths = {m["path"] for m in scottyd.get_json("/api/hosts/old/snmp/?history=0")}
        self.assertEqual({path for path in paths if path.startswith("/snmp/system/")},
                         {"/snmp/system/name", "/snmp/system/location", "/snmp/system/up-time"})
        # Named though ifDescr was not asked for.
        self.assertIn("/snmp/if/GigabitEthernet0_3/in-octets", paths)


def text(octets):
    return agents.ber(4, octets)


class OddAgents(unittest.TestCase):
    """Agents that are within their rights, but not what one expects."""

    def poll(self, values, check, **options):
        """{path: metric} once check(that) holds."""
        with agents.v2c_agent(values) as agent:
            ep = agents.endpoint("odd", agent.port, interval="300ms", **options)
            with sp.Scottyd({"endpoints": [ep]}) as scottyd:
                def checked():
                    answer = scottyd.get("/api/hosts/odd/snmp/?history=5")
                    metrics = answer.json() if answer.status == 200 else []
                    metrics = {m["path"]: m for m in metrics}
                    return metrics if check(metrics) else None
                metrics = sp.eventually(checked, "polled")
                status = scottyd.endpoints()["odd", "snmp"]
                self.assertEqual((status["badMetrics"], status["error"]), (0, ""))
                for path in metrics:
                    self.assertTrue(scottyd.get("/api/hosts/odd/snmp" + urllib.parse.quote(
                        path)).json(), path)
                return metrics

    def test_counters_wrap_and_stay_raw(self):
        polls = [0]
        octets = {32: (0xfffffff0, 7), 64: (0xffffffffffffff00, 9)}

        def values():
            polls[0] += 1
            after = polls[0] > 6
            return {"1.3.6.1.2.1.2.2.1.2.1": text(b"up"),
                    "1.3.6.1.2.1.2.2.1.10.1": agents.ber_int(octets[32][after], 0x41),
                    "1.3.6.1.2.1.31.1.1.1.6.1": agents.ber_int(octets[64][after], 0x46)}

        def wrapped(metrics):
            return all(path in metrics and len(metrics[path]["values"]) >= 2
                       for path in ("/snmp/if/up/in-octets", "/snmp/if/up/hc-in-octets"))

        metrics = self.poll(values, wrapped, walk=["ifTable", "ifXTable"])
        for name, kind, bits in (("in-octets", "uint32", 32), ("hc-in-octets", "uint64", 64)):
            metric = metrics[f"/snmp/if/up/{name}"]
            self.assertEqual(metric["kind"], kind)
            self.assertEqual([v["value"] for v in metric["values"][:2]], list(octets[bits])[::-1])

    def test_names_of_all_kinds(self):
        names = [b"Gi 1/0/1", b"tab\there", b"bad\xff\xfe", b"twin", b"twin", b"", b"..",
                 "Gr\u00fc\u00dfe".encode(), b"a" * 300, b"per%20cent?#", b"nul\0", b"\x1b[31m"]
        alias = [b"to \"core\" \\ <b>", b"\xff\xfe\0\1"] + [b""] * (len(names) - 2)

        def values():
            table = {}
            for i, name in enumerate(names, 1):
                table[f"1.3.6.1.2.1.2.2.1.2.{i}"] = text(name)
                table[f"1.3.6.1.2.1.2.2.1.10.{i}"] = agents.ber_int(i, 0x41)
                table[f"1.3.6.1.2.1.31.1.1.1.18.{i}"] = text(alias[i - 1])
            return table

        metrics = self.poll(values, bool, walk="ifTable")
        rows = {path.split("/")[3]: m for path, m in metrics.items()
                if path.endswith("/in-octets")}
        self.assertEqual(
            {name: m["values"][0]["value"] for name, m in rows.items()},
            {"Gi 1_0_1": 1, "tab_here": 2, "bad__": 3, "twin@4": 4, "twin@5": 5, "6": 6, "__": 7,
             "Gr\u00fc\u00dfe": 8, "a" * 200: 9, "per%20cent?#": 10, "nul": 11, "_[31m": 12})
        self.assertEqual(rows["Gi 1_0_1"]["tags"], {
            "ifAlias": "to \"core\" \\ <b>", "ifDescr": "Gi 1/0/1", "ifIndex": "1",
            "oid": "1.3.6.1.2.1.2.2.1.10.1"})
        self.assertEqual(rows["tab_here"]["tags"]["ifAlias"], "FF FE 00 01")
        self.assertEqual(rows["twin@4"]["tags"]["ifIndex"], "4")
        self.assertNotIn("ifAlias", rows["twin@4"]["tags"])

    def poll_large(self, max_response, **options):
        """Polls 10,000 rows once: (status, value of the last row's counter, MiB at most)."""
        with agents.Sim(1, "-rows", "10000") as sim:
            ep = agents.endpoint("large", sim.port, sim.address(0), interval="10s", timeout="5s",
                                 maxRepetitions=50, **options)
            with sp.Scottyd({"endpoints": [ep], "store": {"memory": "256MiB"},
                             "collection": {"maxResponse": max_response}}) as scottyd:
                status = sp.eventually(lambda: [e for e in scottyd.endpoints().values()
                                                if e["metricCount"] or e["down"]], "polled", 30)[0]
                return (status, scottyd.value(
                    "large", "snmp", "/snmp/if/GigabitEthernet0_10000/in-octets"),
                    scottyd.status_kib("VmHWM") / 1024)

    def test_tables_of_ten_thousand_rows(self):
        status, value, _ = self.poll_large("64MiB", walk=["ifInOctets", "ifOutOctets"])
        self.assertEqual((status["error"], status["metricCount"]), ("", 20002))
        self.assertGreater(value, 0x40000000)
        status, value, mib = self.poll_large("128MiB", walk="ifTable")
        self.assertEqual((status["error"], status["metricCount"]), ("", 100002))
        self.assertGreater(value, 0x40000000)
        self.assertLess(mib, 300 * sp.SLOW)
        status, value, mib = self.poll_large("8MiB", walk="ifTable")
        self.assertEqual(status["state"], "failed to poll")
        self.assertIn("larger than 8388608 bytes", status["error"])
        self.assertIsNone(value)
        self.assertLess(mib, 64 * sp.SLOW)


SNMPREC = """\
1.3.6.1.2.1.1.1.0|4|simulated
1.3.6.1.2.1.1.3.0|67:numeric|rate=100,initial=4294967000,wrap=1,max=4294967295
1.3.6.1.2.1.2.2.1.2.1|4|uplink
1.3.6.1.2.1.2.2.1.10.1|65:numeric|rate=100000000,initial=4294000000,wrap=1,max=4294967295
1.3.6.1.2.1.31.1.1.1.6.1|70:numeric|rate=1000,initial=18446744073709551000,wrap=1,max=18446744073709551615
1.3.6.1.4.1.99999.1.0|4x|00ff10
1.3.6.1.4.1.99999.2.0|2|-42
1.3.6.1.4.1.99999.3.0|64|192.0.2.7
1.3.6.1.4.1.99999.4.0|6|1.3.6.1.4.1.4294967295
"""
SLOW = "1.3.6.1.2.1.1.1.0|4|slow\n1.3.6.1.4.1.99999.1.0|4:delay|value=late,wait=400\n"
ERRS = "1.3.6.1.2.1.1.1.0|4|errs\n1.3.6.1.4.1.99999.1.0|2:error|op=any,status=authorizationError,value=1\n"


class Snmpsim(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        agents.need("snmpsimd")
        if os.getuid() != 0:
            raise unittest.SkipTest("snmpsimd wants to be started by root")
        cls.dir = tempfile.mkdtemp(prefix="snmpsim-")
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        cls.port = agents.free_udp_port()
        data = os.path.join(cls.dir, "data")
        os.mkdir(data)
        os.chmod(cls.dir, 0o755)
        for name, text in (("public", SNMPREC), ("slow", SLOW), ("errs", ERRS)):
            with open(os.path.join(data, name + ".snmprec"), "w", encoding="ascii") as f:
                f.write(text)
        os.mkdir(os.path.join(data, "many"))
        for i in range(MANY):
            with open(os.path.join(data, "many", f"{i}.snmprec"), "w", encoding="ascii") as f:
                f.write(f"1.3.6.1.2.1.1.1.0|4|agent\n1.3.6.1.2.1.1.5.0|4|name{i}\n")
        os.mkdir(os.path.join(cls.dir, "cache"))
        for path, _, files in os.walk(cls.dir):
            for name in [path] + [os.path.join(path, f) for f in files]:
                shutil.chown(name, "nobody", "nogroup")
        args = ["snmpsimd", f"--data-dir={data}", f"--cache-dir={cls.dir}/cache",
                "--process-user=nobody", "--process-group=nogroup",
                f"--agent-udpv4-endpoint=127.0.0.1:{cls.port}"]
        for auth, priv in (("MD5", "DES"), ("SHA", "AES192"), ("SHA", "AES256"),
                           ("SHA", "AES256BLMT")):
            args += [f"--v3-user={auth}{priv}", f"--v3-auth-key={agents.AUTH}",
                     f"--v3-auth-proto={auth}", f"--v3-priv-key={agents.PRIV}",
                     f"--v3-priv-proto={priv}"]
        cls.child = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.child.wait)
        cls.addClassCleanup(cls.child.terminate)

    def poll(self, check, **options):
        ep = agents.endpoint("sim", self.port, **options)
        with sp.Scottyd({"endpoints": [ep]}) as scottyd:
            return sp.eventually(lambda: check(scottyd), options, 60)

    @staticmethod
    def value(path):
        return lambda scottyd: scottyd.value("sim", "snmp", path)

    def test_types(self):
        get = [f"1.3.6.1.4.1.99999.{i}.0" for i in range(1, 5)]
        with sp.Scottyd({"endpoints": [agents.endpoint("sim", self.port, get=get)]}) as scottyd:
            sp.eventually(lambda: scottyd.value("sim", "snmp", "/snmp/oid/1.3.6.1.4.1.99999.1.0"),
                          "polled", 30)
            metrics = {m["path"][-3:]: m for m in
                       scottyd.get_json("/api/hosts/sim/snmp/snmp/oid?history=0")}
            self.assertEqual([(metrics[f"{i}.0"]["kind"], metrics[f"{i}.0"]["values"][0]["value"])
                              for i in range(1, 5)],
                             [("string", "00 FF 10"), ("int32", -42), ("string", "192.0.2.7"),
                              ("string", "1.3.6.1.4.1.4294967295")])

    def test_counters_wrap_and_stay_raw(self):
        path = "/api/hosts/sim/snmp/snmp/if/uplink/"
        ep = agents.endpoint("sim", self.port, walk=["ifTable", "ifXTable"], interval="300ms")
        with sp.Scottyd({"endpoints": [ep]}) as scottyd:
            def wrapped(name):
                answer = scottyd.get(f"{path}{name}?history=5")
                values = [v["value"] for m in (answer.json() if answer.status == 200 else [])
                          for v in m["values"]][::-1]
                return any(b < a for a, b in zip(values, values[1:]))
            sp.eventually(lambda: wrapped("in-octets"), "Counter32 wraps", 60)

    def test_a_thousand_agents(self):
        # snmpsim indexes each agent's data when it is first asked. That takes it long, and what is
        # asked again meanwhile takes it longer.
        eps = [agents.endpoint(f"sim{i}", self.port, interval="40s", walk="system",
                               community=f"many/{i}", timeout="15s") for i in range(MANY)]
        with sp.Scottyd({"endpoints": eps, "collection": {
                "connectTimeout": "40s", "pollTimeout": "40s"}}) as scottyd:
            sp.eventually(lambda: not [e["error"] for e in scottyd.endpoints().values()
                                       if e["down"] or not e["metricCount"]], "all polled", 240)
            names = {m["hostName"]: m["value"] for m in
                     scottyd.get_json("/api/latest/snmp/system/name")}
            self.assertEqual(names, {f"sim{i}": f"name{i}" for i in range(MANY)})

    def test_delay_is_waited_for_and_not_for_ever(self):
        path = "/snmp/oid/1.3.6.1.4.1.99999.1.0"
        self.assertEqual(self.poll(self.value(path), community="slow", get=path[10:],
                                   timeout="2s"), "late")
        error = self.poll(lambda s: s.endpoints()["sim", "snmp"]["error"], community="slow",
                          get=path[10:], timeout="100ms", retries=1)
        self.assertIn("timed out after 2 tries of 0.1 s", error)

    def test_an_error_names_the_object(self):
        # Busy with requests of the tests before, snmpsim may not answer the first in time.
        error = self.poll(lambda s: "authorizationError" in s.endpoints()["sim", "snmp"]["error"]
                          and s.endpoints()["sim", "snmp"]["error"], community="errs",
                          get=["1.3.6.1.2.1.1.1.0", "1.3.6.1.4.1.99999.1.0"], interval="2s")
        self.assertIn("1.3.6.1.4.1.99999.1.0: agent answered authorizationError", error)

    def test_ciphers(self):
        for user, auth, priv in (("MD5DES", "MD5", "DES"), ("SHAAES192", "SHA", "AES-192C"),
                                 ("SHAAES256", "SHA", "AES-256C"),
                                 ("SHAAES256BLMT", "SHA", "AES-256")):
            with self.subTest(user=user):
                self.poll(self.value("/snmp/system/descr"), version="3", user=user,
                          authProtocol=auth, authPassword=agents.AUTH, privProtocol=priv,
                          privPassword=agents.PRIV, context="public", walk="system")


if __name__ == "__main__":
    sp.main()
