"""The state directory: one scottyd at a time, upgrade and downgrade, damage, trouble with the disk,
backup while it runs.
"""
import glob
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import tarfile
import tempfile
import threading
import unittest

import scottyd_proc as sp

SCOTTY = os.path.join(sp.BIN, "scotty")
FORMAT = 4
ROOT = os.getuid() == 0
# As a user who is subject to permissions: root without what exempts it.
MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if ROOT else []

OLD_REGISTRY = """
CREATE TABLE endpoints (host TEXT NOT NULL, app TEXT NOT NULL, body TEXT NOT NULL,
 from_loopback INTEGER NOT NULL, PRIMARY KEY (host, app)) WITHOUT ROWID;
INSERT INTO endpoints VALUES ('old', 'app', '{"address":"127.0.0.1","port":1}', 1);
PRAGMA user_version=%d;
"""


def scotty(*args):
    return subprocess.run([SCOTTY, *args], capture_output=True, text=True,
                          timeout=30 * sp.SLOW, check=False)


class State(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="scottyd-state-")
        self.addCleanup(self.clean)

    def clean(self):
        os.chmod(self.dir, 0o700)
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, **more):
        scottyd = sp.Scottyd({}, state=self.dir, **more)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        return scottyd

    def put(self, scottyd, host, expect=201):
        body = json.dumps({"address": "127.0.0.1", "port": 1, "interval": "1h"})
        answer = sp.ask(scottyd.port, "PUT", f"/api/endpoints/{host}/app", body)
        self.assertEqual(answer.status, expect, answer.body)
        return answer

    def hosts(self, scottyd):
        return sorted(host for host, _ in scottyd.endpoints())

    def complaints(self, scottyd):
        """The journal has its own."""
        return [line for line in scottyd.lines if re.search(r" (warn|error) (?!journal:)", line)]

    def refused(self):
        return sp.run("-stateDir", self.dir, "-listen", f"127.0.0.1:{sp.free_port()}",
                      "-mdbFile", "")

    def sql(self, name, text):
        with sqlite3.connect(self.path(name)) as db:
            db.executescript(text)
        db.close()


class OneAtATime(State):
    def test_a_second_one_is_refused_with_the_pid_of_the_first(self):
        with self.start() as scottyd:
            done = self.refused()
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"in use by another scottyd, process {scottyd.child.pid}\n")
            self.put(scottyd, "a")
        with self.start() as scottyd:
            self.assertEqual(self.hosts(scottyd), ["a"])

    def test_a_killed_one_leaves_nothing_in_the_way(self):
        scottyd = self.start()
        self.put(scottyd, "a")
        scottyd.kill()
        with self.start() as scottyd:
            self.assertEqual(self.hosts(scottyd), ["a"])

    def test_the_directory_is_made_for_its_owner_only(self):
        os.rmdir(self.dir)
        with self.start():
            self.assertEqual(stat.S_IMODE(os.stat(self.dir).st_mode), 0o700)
            for name in ("state.db", "lock"):
                self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode), 0o600)


class Versions(State):
    """A8"""

    def test_the_registry_of_before_is_taken_over(self):
        self.sql("registry.db", OLD_REGISTRY % 1)
        with self.start() as scottyd:
            self.assertEqual(self.hosts(scottyd), ["old"])
            self.put(scottyd, "new")
            answer = sp.ask(scottyd.port, "DELETE", "/api/endpoints/old/app")
            self.assertEqual(answer.status, 204)
        with self.start() as scottyd:
            self.assertEqual(self.hosts(scottyd), ["new"])
        # A scottyd of before has all it had, and refuses it instead of going on with what is old.
        db = sqlite3.connect(self.path("registry.db"))
        self.assertEqual(db.execute("SELECT host FROM endpoints").fetchall(), [("old",)])
        self.assertGreater(db.execute("PRAGMA user_version").fetchone()[0], 1)
        db.close()

    def test_a_newer_database_is_refused_and_not_touched(self):
        with self.start() as scottyd:
            self.put(scottyd, "a")
        self.sql("state.db", f"PRAGMA user_version={FORMAT + 1}; CREATE TABLE novelty (x)")
        with open(self.path("state.db"), "rb") as f:
            before = f.read()
        done = self.refused()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rf"written by a newer scottyd \(format {FORMAT + 1}, "
                                      rf"this one knows {FORMAT}\)")
        self.assertEqual(len(done.stderr.splitlines()), 1)
        with open(self.path("state.db"), "rb") as f:
            self.assertEqual(f.read(), before)
        self.assertEqual(sorted(os.listdir(self.dir)), ["history", "journal", "lock", "state.db"])


class Damage(State):
    """A9"""

    def test_a_corrupt_database_is_set_aside(self):
        with self.start() as scottyd:
            for i in range(50):
                self.put(scottyd, f"host{i}")
        damaged = os.urandom(100000)
        with open(self.path("state.db"), "r+b") as f:
            f.seek(4000)
            f.write(damaged)
        with self.start() as scottyd:
            self.assertEqual(self.hosts(scottyd), [])
            self.put(scottyd, "a")
            lines = self.complaints(scottyd)
            self.assertEqual(len(lines), 1, lines)
            self.assertRegex(lines[0], r"set aside.*state.db.corrupt-\d{8}T\d{6}")
        kept, = glob.glob(self.path("state.db.corrupt-????????T??????"))
        with open(kept, "rb") as f:
            self.assertEqual(f.read()[4000:], damaged)
        with self.start() as scottyd:
            self.assertEqual(self.hosts(scottyd), ["a"])

    def test_no_cut_and_no_flip_keeps_it_from_starting(self):
        with self.start() as scottyd:
            for i in range(5):
                self.put(scottyd, f"host{i}")
        with open(self.path("state.db"), "rb") as f:
            whole = f.read()
        for i in range(6):
            for name in os.listdir(self.dir):
                if os.path.isfile(self.path(name)):
                    os.unlink(self.path(name))
            at = (i * 7919 + 13) % len(whole)
            damaged = whole[:at] if i % 2 else whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:]
            with open(self.path("state.db"), "wb") as f:
                f.write(damaged)
            try:
                with self.start() as scottyd:
                    # Either it is good or it was set aside: new registrations are kept.
                    self.put(scottyd, "later")
                with self.start() as scottyd:
                    self.assertIn("later", self.hosts(scottyd))
            except AssertionError as error:
                # A flip may make it look as if of a newer version, which is refused.
                if "newer scottyd" not in str(error):
                    raise

    def check_goes_on_without(self, scottyd, hosts):
        self.assertEqual(self.hosts(scottyd), hosts)
        self.put(scottyd, "b", expect=500)
        self.assertEqual(len(self.complaints(scottyd)), 1, scottyd.log())

    def test_a_directory_that_cannot_be_written_is_read(self):
        with self.start() as scottyd:
            self.put(scottyd, "a")
        os.chmod(self.dir, 0o500)
        with self.start(prefix=MORTAL) as scottyd:
            self.check_goes_on_without(scottyd, ["a"])
            self.assertRegex(self.complaints(scottyd)[0], "nothing is kept for now, what was kept")
        os.chmod(self.dir, 0o700)
        with self.start() as scottyd:
            self.assertEqual(self.hosts(scottyd), ["a"])

    @unittest.skipUnless(ROOT, "only root can give a file away")
    def test_a_database_of_another_owner(self):
        with self.start() as scottyd:
            self.put(scottyd, "a")
        os.chown(self.path("state.db"), 65534, 65534)
        with self.start(prefix=MORTAL) as scottyd:
            self.check_goes_on_without(scottyd, [])
            self.assertRegex(self.complaints(scottyd)[0], "nothing can be read.*Permission denied")
            # It notices by itself that all is well again.
            os.chown(self.path("state.db"), 0, 0)
            body = json.dumps({"address": "127.0.0.1", "port": 1})
            sp.eventually(lambda: sp.ask(scottyd.port, "PUT", "/api/endpoints/b/app",
                                         body).status == 201, "kept again", 20)
            self.assertEqual(self.hosts(scottyd), ["a", "b"])

    def test_a_full_disk(self):
        """D2, as far as the database goes: a limit on file sizes stands for the disk."""
        limit = ["sh", "-c", 'ulimit -f 400; trap "" XFSZ; exec "$0" "$@"']
        with self.start(prefix=limit) as scottyd:
            body = json.dumps({"address": "127.0.0.1", "port": 1, "interval": "1h"})
            path = "/api/endpoints/host%d/app"
            kept, status = 0, 201
            while status == 201 and kept < 1000:
                status = sp.ask(scottyd.port, "PUT", path % kept, body).status
                kept += status == 201
            self.assertEqual(status, 500)
            self.assertGreater(kept, 0)
            self.assertEqual(len(scottyd.endpoints()), kept)
        with self.start() as scottyd:
            self.assertEqual(len(scottyd.endpoints()), kept)
            self.put(scottyd, "later")


class Backup(State):
    def setUp(self):
        super().setUp()
        self.other = tempfile.mkdtemp(prefix="scottyd-backup-")
        self.addCleanup(shutil.rmtree, self.other)
        self.file = os.path.join(self.other, "backup.tar")

    def test_a_backup_is_consistent_while_scottyd_runs(self):
        done = threading.Event()
        with self.start() as scottyd:
            self.put(scottyd, "first")
            os.makedirs(self.path("journal"), exist_ok=True)
            with open(self.path("journal/000000000001.sj"), "wb") as f:
                f.write(os.urandom(1000))

            def keep_putting():
                i = 0
                while not done.is_set():
                    self.put(scottyd, f"host{i}")
                    i += 1

            thread = threading.Thread(target=keep_putting)
            thread.start()
            try:
                for _ in range(5):
                    asked = scotty("backup", self.file, "-stateDir", self.dir)
                    self.assertEqual((asked.returncode, asked.stderr), (0, ""))
            finally:
                done.set()
                thread.join()
            hosts = self.hosts(scottyd)
        self.assertEqual(os.listdir(self.other), ["backup.tar"])
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        back = os.path.join(self.other, "back")
        with tarfile.open(self.file) as tar:
            self.assertEqual(tar.getnames()[0], "state.db")
            tar.extractall(back)
        with sp.Scottyd({}, state=back) as scottyd:
            restored = self.hosts(scottyd)
            self.assertIn("first", restored)
            self.assertLessEqual(set(restored), set(hosts))
        checked = scotty("fsck", back)
        self.assertEqual(checked.returncode, 0, checked)
        self.assertIn("state.db: good\n", checked.stdout)

    def test_nothing_to_back_up_leaves_no_file(self):
        asked = scotty("backup", self.file, "-stateDir", self.dir)
        self.assertEqual(asked.returncode, 1)
        self.assertRegex(asked.stderr, r"^scotty: .*no state of a scottyd there")
        self.assertEqual(os.listdir(self.other), [])

    def test_fsck_tells_what_is_damaged_and_changes_nothing(self):
        with self.start() as scottyd:
            for i in range(50):
                self.put(scottyd, f"host{i}")
        with open(self.path("state.db"), "r+b") as f:
            f.seek(4096)
            f.write(os.urandom(4096))
        with open(self.path("state.db"), "rb") as f:
            before = f.read()
        names = sorted(os.listdir(self.dir))
        checked = scotty("fsck", self.dir)
        self.assertEqual(checked.returncode, 1)
        self.assertRegex(checked.stdout, r"(?m)^state.db: .*")
        self.assertRegex(checked.stderr, r"^scotty: .*: 1 of 2 files are not good\n$")
        with open(self.path("state.db"), "rb") as f:
            self.assertEqual(f.read(), before)
        self.assertEqual(sorted(os.listdir(self.dir)), names)
        self.assertEqual(scotty("fsck", os.path.join(self.dir, "none")).returncode, 1)
        self.assertEqual(scotty("fsck").returncode, 2)


if __name__ == "__main__":
    sp.main()
