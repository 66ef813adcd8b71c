"""The kafka writer and a real broker: what arrives, outages, what the broker refuses, TLS and login."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import kafka_peers as kp
import scottyd_proc as sp
import sinks
from kafka_test import KafkaTest

CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},\
SASL_SSL://127.0.0.1:{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
log.dirs={dir}/logs
num.partitions=4
message.max.bytes=20000
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_u="right";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={dir}/server.pem
"""
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"


class Broker:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="kafka-")
        self.ports = {name: sp.free_port() for name in ("plain", "secure", "controller")}
        self.brokers = [f"127.0.0.1:{self.ports['plain']}"]
        self.secure = [f"127.0.0.1:{self.ports['secure']}"]
        self.ca_file = os.path.join(self.dir, "cert.pem")
        self._make_certificate()
        self.config = os.path.join(self.dir, "server.properties")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(dir=self.dir, **self.ports))
        users = [word for sha in ("256", "512") for word in
                 ("--add-scram", f"SCRAM-SHA-{sha}=[name=u,password=right{sha}]")]
        self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c",
                   self.config, *users).wait()
        self.child = None
        self.start()

    def _make_certificate(self):
        key = os.path.join(self.dir, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", self.ca_file], check=True, capture_output=True)
        with open(os.path.join(self.dir, "server.pem"), "w", encoding="utf-8") as out:
            for name in (key, self.ca_file):
                with open(name, encoding="utf-8") as f:
                    out.write(f.read())

    def _java(self, *args):
        with open(os.path.join(self.dir, "java.log"), "a", encoding="utf-8") as log:
            return subprocess.Popen(
                ["java", "-Xmx512m", "-cp", os.path.join(os.environ["KAFKA_JARS"], "*"), *args],
                stdout=log, stderr=log)

    def start(self):
        self.child = self._java("kafka.Kafka", self.config)
        sp.eventually(self._is_up, "the broker answers", 60)

    def _is_up(self):
        if self.child.poll() is not None:
            with open(os.path.join(self.dir, "java.log"), encoding="utf-8") as f:
                raise AssertionError("the broker ended:\n" + f.read()[-3000:])
        return subprocess.run(["kcat", "-L", "-b", self.brokers[0], "-m", "1"], check=False,
                              capture_output=True).returncode == 0

    def create_topic(self, topic):
        """Asking for it makes it."""
        sp.eventually(lambda: f'topic "{topic}" with 4 partitions' in subprocess.run(
            ["kcat", "-L", "-b", self.brokers[0], "-t", topic], check=False,
            capture_output=True, text=True).stdout, "topic", 30)

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class RealBroker(KafkaTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Broker()
        cls.addClassCleanup(cls.cluster.close)

    def setUp(self):
        self.topic = self._testMethodName
        self.cluster.create_topic(self.topic)
        self.reader = kp.Reader(self.cluster.brokers, self.topic)
        self.addCleanup(self.reader.close)

    def options(self, **more):
        return {"topic": self.topic, "maxMessageSize": 20000, **more}

    def test_values_are_those_of_the_api(self):
        for compression in ("none", "gzip", "snappy", "lz4", "zstd"):
            with self.subTest(compression=compression):
                self.reader.messages.clear()
                self.run_through(lambda _: time.sleep(1), **self.options(compression=compression))

    def test_an_outage(self):
        def trouble(scottyd):
            self.cluster.kill()
            sp.eventually(lambda: sinks.writer(scottyd)["state"] == "retrying", "retrying", 15)
            time.sleep(10)
            self.cluster.start()

        self.run_through(trouble, **self.options())

    def test_a_batch_too_large_for_the_broker_goes_in_parts(self):
        endpoint = sp.Endpoint([sp.metric(f"/p/{i:04}", "int64", i, bits=64)
                                for i in range(2000)] +
                               [sp.metric("/q/large", "string", "x" * 30000)])
        self.addCleanup(endpoint.close)
        scottyd = self.start({
            "endpoints": [{"host": "web1", "app": "many", "address": "127.0.0.1",
                           "port": endpoint.port, "interval": "1h"}],
            "writers": [kp.kafka(self.cluster.brokers, compression="none", topic=self.topic)]})
        self.assertEqual(sp.ask(scottyd.port, "POST", "/api/poll").status, 202)
        sp.eventually(lambda: len(self.reader.messages) >= 2000, "the others", 30)
        sp.eventually(lambda: sinks.writer(scottyd)["deadLettered"] == 1, "dead letter", 20)
        names = [o["name"] for o in self.reader.objects("web1")]
        self.assertEqual(names, [f"_p_{i:04}" for i in range(2000)])

    def secure_writer(self, password, mechanism="PLAIN"):
        return kp.kafka(self.cluster.secure, **self.options(
            tls=True, caFile=self.cluster.ca_file, saslMechanism=mechanism, username="u",
            password=password))

    def test_tls_and_login(self):
        for mechanism, password in (("PLAIN", "right"), ("SCRAM-SHA-256", "right256"),
                                    ("SCRAM-SHA-512", "right512")):
            with self.subTest(mechanism=mechanism):
                self.reader.messages.clear()
                writers = [self.secure_writer(password, mechanism)]
                scottyd = self.start_counting(writers)
                time.sleep(2)
                self.stop_polling(scottyd, writers)
                self.check_same(scottyd)

    def test_a_wrong_password_is_said(self):
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            with self.subTest(mechanism=mechanism):
                scottyd = self.start_counting([self.secure_writer("hunter2", mechanism)])
                sp.eventually(lambda: sinks.writer(scottyd)["state"] == "refused", "refused", 20)
                self.assertIn("authentication failed",
                              sinks.writer(scottyd)["lastWriteError"].lower())
                self.assertNotIn("hunter2", scottyd.log())

    def test_an_unknown_certificate_is_said(self):
        writer = self.secure_writer("right")
        del writer["kafka"]["caFile"]
        scottyd = self.start_counting([writer])
        sp.eventually(lambda: "certificate" in sinks.writer(scottyd)["lastWriteError"], "said", 20)
        self.assertEqual(self.reader.messages, [])


if __name__ == "__main__":
    sp.main()
