#!/usr/bin/env python3
"""The SNMP benchmark: CPU per object of scottyd, snmpbulkwalk and prometheus-snmp-exporter.

usage: snmp.py [-quick]

All three ask the same responder, snmp_sim, for the same subtree (ifTable: 10 columns, 10 repetitions
a request) from the same processor, one after the other. snmpbulkwalk walks a table of 10,000 rows,
as its start would be most of the cost of a small one. Those that are not installed are left out.
SCOTTY_BIN names the directory of the programs.
"""
import http.client
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import sweep
from sweep import sp

import snmp_agents  # noqa: E402 (sweep adds the path)

AGENTS, ROWS, COLUMNS = 1000, 10, 10
OBJECTS = ROWS * COLUMNS
SUBTREE = "1.3.6.1.2.1.2.2"
TYPES = {2: "DisplayString", 4: "gauge", 5: "gauge", 8: "gauge", 10: "counter", 11: "counter",
         14: "counter", 16: "counter", 17: "counter", 20: "counter"}


def sim(agents, *flags):
    with sweep.children_on(sweep.SIMULATOR):
        return snmp_agents.Sim(agents, *flags)


def us(cpu, objects):
    return f"{cpu / objects * 1e6:.2f} us of CPU an object"


def own(scottyd, path):
    return scottyd.get_json(f"/metricsapi/collector/{path}")[0]


def run_scottyd(interval_s, seconds):
    """CPU seconds an object, of AGENTS polled every interval_s by one thread."""
    with tempfile.NamedTemporaryFile("r", suffix=".yaml") as config, \
         sim(AGENTS, "-rows", str(ROWS), "-interval", f"{interval_s}s", "-write-config",
             config.name) as agents:
        with sweep.children_on(sweep.COLLECTOR):
            scottyd = sp.Scottyd({})
        with scottyd:
            text = config.read().replace("collection:", "collection:\n  threads: 1")
            scottyd.configure_raw(text + f"stateDir: {scottyd.state}\nmdbFile: ''\n"
                                  "store: {memory: 1GiB}\n")
            scottyd.reload()
            time.sleep(2 * interval_s + 1)
            late, polls = sweep.Histogram(own(scottyd, "lateness")), own(scottyd, "polls")["value"]
            cpu, begin = scottyd.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            cpu, seconds = scottyd.cpu_seconds() - cpu, time.monotonic() - begin
            polls = own(scottyd, "polls")["value"] - polls
            late = sweep.Histogram(own(scottyd, "lateness")).since(late)
            failed = own(scottyd, "failedPolls")["value"]
            rss = scottyd.status_kib("VmRSS") / 1024
        agents.stop()
    print(f"  scottyd, {AGENTS} agents x {OBJECTS} objects every {interval_s} s: "
          f"{us(cpu, polls * OBJECTS)}, {100 * cpu / seconds:.1f}% of a core, late p50 / p99 "
          f"{late.quantile_ms(.5):.2f} / {late.quantile_ms(.99):.2f} ms, {failed} polls failed, "
          f"RSS {rss:.0f} MiB", flush=True)
    return cpu / (polls * OBJECTS)


def run_bulkwalk(times):
    if shutil.which("snmpbulkwalk") is None:
        print("  snmpbulkwalk is not installed")
        return None
    rows = 10000
    with sim(1, "-rows", str(rows)) as agent, sweep.children_on(sweep.COLLECTOR):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(times):
            subprocess.run(["snmpbulkwalk", "-v2c", "-c", "public", "-Cr10", "-On",
                            f"{agent.address(0)}:{agent.port}", SUBTREE], check=True,
                           stdout=subprocess.DEVNULL, env=dict(os.environ, MIBS=""))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  snmpbulkwalk, {times} x {rows * COLUMNS} objects: {us(cpu, times * rows * COLUMNS)}",
          flush=True)
    return cpu / (times * rows * COLUMNS)


def exporter_config():
    lines = ["if:", f"  walk: [{SUBTREE}]", "  version: 2", "  max_repetitions: 10",
             "  auth: {community: public}", "  metrics:"]
    for column, kind in TYPES.items():
        lines += [f"  - name: column{column}", f"    oid: {SUBTREE}.1.{column}",
                  f"    type: {kind}", f"    help: column {column}",
                  "    indexes: [{labelname: ifIndex, type: gauge}]",
                  "    lookups: [{labels: [ifIndex], labelname: ifDescr, "
                  f"oid: {SUBTREE}.1.2, type: DisplayString}}]"]
    return "\n".join(lines) + "\n"


def run_exporter(scrapes):
    if shutil.which("prometheus-snmp-exporter") is None:
        print("  prometheus-snmp-exporter is not installed")
        return None
    port = sp.free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config, \
         sim(AGENTS, "-rows", str(ROWS)) as agents:
        config.write(exporter_config())
        config.flush()
        with sweep.children_on(sweep.COLLECTOR):
            child = subprocess.Popen(
                ["prometheus-snmp-exporter", f"--config.file={config.name}",
                 f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
                stderr=subprocess.DEVNULL)
        try:
            conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            sp.eventually(lambda: answers(conn), "the exporter answers")
            scrape(conn, agents, scrapes // 10)
            cpu = sp.cpu_seconds(child.pid)
            scrape(conn, agents, scrapes)
            cpu = sp.cpu_seconds(child.pid) - cpu
        finally:
            child.terminate()
            child.wait()
    print(f"  prometheus-snmp-exporter, {scrapes} scrapes x {OBJECTS} objects: "
          f"{us(cpu, scrapes * OBJECTS)}", flush=True)
    return cpu / (scrapes * OBJECTS)


def answers(conn):
    try:
        conn.request("GET", "/")
        return conn.getresponse().read()
    except OSError:
        conn.close()
        return False


def scrape(conn, agents, times):
    for i in range(times):
        conn.request("GET", f"/snmp?module=if&target={agents.address(i % AGENTS)}:{agents.port}")
        body = b"\n" + conn.getresponse().read()
        # The text column becomes a label, and a metric of its own.
        found = body.count(b"\ncolumn")
        if found != OBJECTS:
            raise AssertionError(f"the exporter gave {found} objects: {body[:300]!r}")


def main(args):
    if args not in ([], ["-quick"]):
        print(__doc__, file=sys.stderr)
        return 2
    quick = args == ["-quick"]
    print(sweep.machine(), flush=True)
    os.sched_setaffinity(0, sweep.DRIVER)
    slow = run_scottyd(10, 20 if quick else 60)
    fast = run_scottyd(1, 10 if quick else 30)
    walk = run_bulkwalk(3 if quick else 10)
    exporter = run_exporter(1000 if quick else 5000)
    for name, other in (("snmpbulkwalk", walk), ("prometheus-snmp-exporter", exporter)):
        if other is not None:
            print(f"  scottyd takes {slow / other:.3f} of what {name} does every 10 s, "
                  f"{fast / other:.3f} every second")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
