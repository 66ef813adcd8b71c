#!/bin/sh
# The kafka writer against a real broker of Apache Kafka (KRaft), which Maven fetches.
set -eu
build=$PWD/$1
here=$(cd "$(dirname "$0")" && pwd)
skip() {
	echo "skipped: $*"
	exit 77
}
for program in java mvn kcat openssl python3; do
	command -v $program >/dev/null 2>&1 || skip "there is no $program here"
done
[ -x "$build/bin/kafka_mock" ] || skip "built without librdkafka"
jars=$build/interop/kafka
if [ ! -f "$jars/complete" ]; then
	mkdir -p "$jars"
	timeout 600 mvn -B -q -f "$here/kafka/pom.xml" \
	    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
	    -DoutputDirectory="$jars" >"$jars/log" 2>&1 ||
	    skip "Maven can't fetch the broker: $(grep -m 1 ERROR "$jars/log" | cut -c 1-200)"
	touch "$jars/complete"
fi
SCOTTY_BIN=$build/bin KAFKA_JARS=$jars PYTHONPATH=$here/../integration \
    python3 -B "$here/kafka/broker_test.py"
