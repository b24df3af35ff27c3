#!/usr/bin/env bash
# usage: interop/run.sh CHECKOUT [SUITE...]
#
# Drives two of our clients by the MLS working group's test runner through all
# its configs but the random ones. CHECKOUT is a checkout of
# github.com/mlswg/mls-implementations, which is left as it is: the runner is
# built from a copy. Needs protoc in the path; the Go plug-ins are fetched by
# the module proxy. RUNNER=FILE uses a runner that is built already.
# DEEP=1 runs the random configs too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "${1:?usage: interop/run.sh CHECKOUT [SUITE...]}" && pwd); shift
suites=("${@:-0}") # 0: all
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
export CGO_ENABLED=0

if [ -z "${RUNNER:-}" ]; then
	cp -r "$checkout/." "$work/wg"
	GOBIN=$work/bin go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.33.0
	GOBIN=$work/bin go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.3.0
	(cd "$work/wg/interop/proto" && PATH=$work/bin:$PATH protoc -I . \
		--go_out=. --go_opt=paths=source_relative \
		--go-grpc_out=. --go-grpc_opt=paths=source_relative mls_client.proto)
	(cd "$work/wg" && go mod tidy >/dev/null 2>&1 && go build -o "$work/runner" ./interop/test-runner)
	RUNNER=$work/runner
fi

(cd "$here" && go build -o "$work/client" ./cmd/mls-interop)
ports=()
for i in 1 2; do
	"$work/client" -port 0 >"$work/client$i" &
	until grep -q : "$work/client$i"; do sleep 0.1; done
	ports+=(-client "$(sed 's/listening on //' "$work/client$i")")
done

failed=0
for config in "$checkout"/interop/configs/*.json; do
	name=$(basename "$config" .json)
	[ "$name" != deep_random ] || [ -n "${DEEP:-}" ] || continue
	for suite in "${suites[@]}"; do
		# All assignments of many actors to two clients would be thousands.
		if "$RUNNER" "${ports[@]}" -random -fail-fast -suite "$suite" -config "$config" >"$work/out" 2>"$work/err"; then
			echo "ok    $name (suite $suite): $(grep -c '"encrypt_flag"' "$work/out" || true) runs"
		else
			echo "FAIL  $name (suite $suite)"
			grep -h '"error"\|failed_step' "$work/out" | head -5 || true
			tail -2 "$work/err"
			failed=1
		fi
	done
done
exit $failed
