#!/bin/sh
# Numbers and strings as Go's encoding/json writes them, which is what upstream's clients were made
# with: a Go program prints random values as bits and as JSON, ours must print the same JSON.
set -eu
bin=$PWD/$1/bin
here=$(dirname "$0")
if ! command -v go >/dev/null 2>&1; then
	echo "skipped: there is no Go here"
	exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$here/go_json.go" "$dir/main.go"
(cd "$dir" && GO111MODULE=off GOFLAGS= GOCACHE="$dir/cache" go build -o values main.go)
"$dir/values" 1000000 >"$dir/expected"
"$bin/json_echo" <"$dir/expected" >"$dir/got"
cmp "$dir/expected" "$dir/got"
echo "$(wc -l <"$dir/got") values agree"
