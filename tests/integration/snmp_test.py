"""SNMP against Debian's snmpd: names for people, errors that say what is wrong, agents that restart."""
import os
import re
import subprocess
import tempfile
import unittest

import scottyd_proc as sp
import snmp_agents as agents


class AgainstSnmpd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.agent = agents.Snmpd()
        cls.addClassCleanup(cls.agent.__exit__, None, None, None)

    def ep(self, host, **options):
        return agents.endpoint(host, self.agent.port, **options)

    def test_paths_and_tags_are_for_people(self):
        options = {"walk": ["system", "ifTable"], "get": ["memTotalReal.0", "laLoad.1"]}
        with sp.Scottyd({"endpoints": [self.ep("named", **options)]}) as scottyd:
            agents.wait_synced(scottyd, "named")
            metrics = {m["path"]: m for m in scottyd.get_json("/api/hosts/named/snmp/?history=0")}
            lo = metrics["/snmp/if/lo/in-octets"]
            self.assertEqual((lo["kind"], lo["unit"]), ("uint32", "Bytes"))
            self.assertEqual(lo["tags"]["ifIndex"], "1")
            self.assertEqual(lo["tags"]["ifDescr"], "lo")
            self.assertEqual(lo["tags"]["oid"], "1.3.6.1.2.1.2.2.1.10.1")
            self.assertEqual(metrics["/snmp/system/name"]["values"][0]["value"], "agent")
            self.assertIn("/snmp/ucd/memory/total-real", metrics)
            self.assertIn("/snmp/ucd/load/Load-1/load", metrics)
            self.assertNotIn("/snmp/if/lo/alias", metrics)

    def test_errors_say_what_is_wrong(self):
        right = agents.user_options("sha256aes")
        cases = {
            "digest": (dict(right, authPassword="authpass124"), "wrong digest"),
            "user": (dict(right, user="stranger"), "agent knows no user stranger"),
            "decryption": (dict(right, privPassword="privpass124"), "privPassword"),
            "context": (dict(right, context="elsewhere"), "context"),
            "level": (dict(agents.user_options("md5"), privPassword=agents.PRIV),
                      "may not use level authPriv"),
            "authorization": (dict(right, level="authNoPriv"), "authorizationError"),
            "community": ({"community": "secret"}, "timed out after 2 tries of 0.2 s"),
            "short": (dict(right, authPassword={"env": "SHORT"}), "authPassword is shorter"),
            "gone": ({"community": {"file": "/nonexistent"}}, "/nonexistent"),
        }
        os.environ["SHORT"] = "seven77"
        eps = [self.ep(host, timeout="200ms", retries=1, **options)
               for host, (options, _) in cases.items()]
        with sp.Scottyd({"endpoints": eps}) as scottyd:
            for host, (_, text) in cases.items():
                with self.subTest(host=host):
                    found = sp.eventually(lambda: agents.error(scottyd, host), "an error")
                    self.assertIn(text, found)
                    silent = host in ("community", "short", "gone")
                    state = "failed to connect" if silent else "failed to poll"
                    sp.eventually(
                        lambda: scottyd.endpoints()[host, "snmp"]["state"] == state, state)
            self.assertNotIn("authpass", scottyd.log())
            self.assertNotIn("privpass", scottyd.log())

    def test_a_view_hides_what_it_excludes(self):
        options = {"version": "3", "user": "narrow", "authPassword": agents.AUTH,
                   "privPassword": agents.PRIV, "walk": ["system", "ifTable"]}
        with sp.Scottyd({"endpoints": [self.ep("narrow", **options)]}) as scottyd:
            agents.wait_synced(scottyd, "narrow")
            oids = agents.by_oid(scottyd, "narrow")
            self.assertTrue(all(oid.startswith("1.3.6.1.2.1.1.") for oid in oids), oids)

    def check_still_polled(self, scottyd, disturb):
        """No poll fails while disturb() goes on, and polls go on after it."""
        before = len(scottyd.lines)
        disturb()
        last = scottyd.endpoints()["restart", "snmp"]["lastPoll"]
        sp.eventually(lambda: scottyd.endpoints()["restart", "snmp"]["lastPoll"] != last,
                      "polled again", 30)
        self.assertEqual(agents.error(scottyd, "restart"), "")
        since = [line for line in scottyd.lines[before:] if "endpoint failed" in line]
        self.assertEqual(since, [])

    def patient(self):
        """An endpoint whose polls outlast an agent's restart."""
        options = dict(agents.user_options("sha512aes256"), walk="system", retries=20,
                       timeout="1s")
        return {"endpoints": [self.ep("restart", **options)],
                "collection": {"pollTimeout": "30s", "connectTimeout": "30s"}}

    def test_a_restarted_agent_is_found_within_the_same_poll(self):
        with sp.Scottyd(self.patient()) as scottyd:
            agents.wait_synced(scottyd, "restart")
            path = "/snmp/agent/restarts"
            self.assertEqual(scottyd.value("restart", "snmp", path), 0)
            # Longer than a restart takes, or the time would not be seen to go back.
            sp.eventually(lambda: float(scottyd.value(
                "restart", "snmp", "/snmp/system/up-time")) > max(10, 4 * sp.SLOW), "an older agent", 60)
            self.check_still_polled(scottyd, self.agent.restart)
            sp.eventually(lambda: scottyd.value("restart", "snmp", path) == 1, "restart seen", 30)
            self.assertTrue(scottyd.has_line("agent restarted"))

    def test_another_engine_is_found_within_the_same_poll(self):
        with sp.Scottyd(self.patient()) as scottyd:
            agents.wait_synced(scottyd, "restart")
            engine = self.agent.get("1.3.6.1.6.3.10.2.1.1.0")
            self.check_still_polled(scottyd, self.agent.replace)
            self.assertNotEqual(self.agent.get("1.3.6.1.6.3.10.2.1.1.0"), engine)

    def test_configured_names(self):
        names = [{"oid": "1.3.6.1.4.1.8072.1.3.2.4.1.2", "name": "extend/line",
                  "description": "A line of output"},
                 {"oid": "1.3.6.1.2.1.25.3.2.1.5", "name": "device/state", "unit": "State",
                  "index": "hrDeviceDescr"}]
        options = {"walk": ["1.3.6.1.4.1.8072.1.3.2.4", "hrDeviceStatus"], "names": names}
        with sp.Scottyd({"endpoints": [self.ep("own", **options)]}) as scottyd:
            agents.wait_synced(scottyd, "own")
            metrics = {m["path"]: m for m in scottyd.get_json("/api/hosts/own/snmp/?history=0")}
            line = metrics["/snmp/extend/5.104.101.108.108.111.1/line"]
            self.assertEqual((line["description"], line["values"][0]["value"]),
                             ("A line of output", "hi"))
            states = [path for path in metrics if path.startswith("/snmp/device/")]
            self.assertIn("/snmp/device/network interface lo/state", states)
            self.assertEqual({metrics[path]["unit"] for path in states}, {"State"})
            # Processors all have the same name, so the index keeps them apart.
            cpus = [path for path in states if "@1966" in path]
            self.assertEqual(len(cpus) > 1, os.cpu_count() > 1, states)


EXAMPLE = os.path.join(os.path.dirname(sp.__file__), "..", "..", "examples", "snmp.yaml")

BAD_OPTIONS = {  # options as YAML in one line: (column, complaint)
    "{walk: [system, ifTabel]}": (28, "neither a number nor a known name: 'ifTabel'"),
    "{walk: 1.3.6.}": (19, "neither a number nor a known name: '1.3.6.'"),
    "{get: [sysName.0, 1.x]}": (30, "neither a number nor a known name: '1.x'"),
    "{version: 3}": (12, "'user' is missing, which version 3 needs"),
    "{version: 5}": (22, "'version' is none of 1, 2c, 3: '5'"),
    "{version: 3, user: u, authProtocol: ROT13, authPassword: longenough}":
        (48, "'authProtocol' is none of MD5, SHA, "),
    "{version: 3, user: u, authPassword: short}": (48, "'authPassword' is shorter than 8 bytes"),
    "{version: 3, user: u, level: authPriv, authPassword: longenough}":
        (12, "'privPassword' is missing, which level authPriv needs"),
    "{names: [{oid: x, name: a/b}]}": (27, "'oid' is neither a number nor a known name: 'x'"),
}


class Options(unittest.TestCase):
    """What is wrong with options is said before anything is polled, with its place."""

    @staticmethod
    def file(options):
        return ("stateDir: ''\nmdbFile: ''\nendpoints:\n- host: h\n  app: snmp\n  port: 161\n"
                f"  source: snmp\n  options: {options}\n")

    def test_validate(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            for options, (column, text) in BAD_OPTIONS.items():
                f.seek(0)
                f.truncate()
                f.write(self.file(options))
                f.flush()
                done = sp.run("-config", f.name, "-validate")
                self.assertEqual(done.returncode, 1, options)
                self.assertIn(f"{f.name}:8:{column}: {text}", done.stdout + done.stderr)

    def test_the_example(self):
        self.assertEqual(sp.run("-config", EXAMPLE, "-validate").returncode, 0)
        with open(EXAMPLE, encoding="utf-8") as f:
            text = f.read()
        with agents.Snmpd() as agent, sp.Scottyd({}) as scottyd:
            text = re.sub("(?m)^(listen|stateDir):.*\n", "", text)
            text = text.replace("192.0.2.1\n    port: 161", f"127.0.0.1\n    port: {agent.port}")
            scottyd.configure_raw(text + f"stateDir: {scottyd.state}\n")
            scottyd.reload()
            sp.ask(scottyd.port, "POST", "/api/poll")
            agents.wait_synced(scottyd, "switch1")
            self.assertGreater(
                scottyd.value("switch1", "snmp", "/snmp/if/lo/hc-in-octets"), 0)

    def test_sighup_and_put(self):
        with sp.Scottyd({}) as scottyd:
            for options, (column, text) in BAD_OPTIONS.items():
                scottyd.configure_raw(self.file(options))
                scottyd.reload()
                self.assertTrue(
                    any(f"scottyd.yaml:8:{column}: {text}" in line for line in scottyd.lines),
                    scottyd.log())
                body = '{"port": 161, "source": "snmp", "options": ' + options + "}"
                answer = sp.ask(scottyd.port, "PUT", "/api/endpoints/h/snmp", body)
                self.assertEqual(answer.status, 400, options)
                self.assertIn(text, answer.json()["error"])
            self.assertEqual(scottyd.endpoints(), {})


MIB2CONF = """\
names:
  - oid: 1.3.6.1.4.1.99999.1
    name: acme-test/acme-temperature
    unit: "Celsius"
    description: "Temperature of the case."
  - oid: 1.3.6.1.4.1.99999.3.1.2
    name: acme-test/acme-fan/acme-fan-name
    description: "Its name."
    index: 1.3.6.1.4.1.99999.3.1.2
  - oid: 1.3.6.1.4.1.99999.3.1.3
    name: acme-test/acme-fan/acme-fan-rpm
    description: "Its speed."
    index: 1.3.6.1.4.1.99999.3.1.2
"""


class MibFiles(unittest.TestCase):
    def test_mib2conf_writes_what_the_source_takes(self):
        done = subprocess.run([os.path.join(sp.BIN, "scotty"), "mib2conf",
                               os.path.join(sp.DATA, "ACME-TEST-MIB.txt")],
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, MIB2CONF)
        names = "".join("        " + line for line in done.stdout.splitlines(True))
        with sp.Scottyd({}) as scottyd:
            scottyd.configure_raw(
                f"stateDir: ''\nmdbFile: ''\nendpoints:\n  - host: acme\n    app: snmp\n"
                f"    address: 127.0.0.1\n    port: {agents.free_udp_port()}\n"
                f"    source: snmp\n    interval: 200ms\n    options:\n"
                f"        timeout: 20ms\n        walk: 1.3.6.1.4.1.99999\n{names}")
            scottyd.reload()
            found = sp.eventually(lambda: [e["error"] for e in scottyd.endpoints().values()
                                           if e["error"]], "polled")
            self.assertIn("timed out", found[0])


if __name__ == "__main__":
    sp.main()
