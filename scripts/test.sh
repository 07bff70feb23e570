#!/bin/sh
# The whole gate: sets up, checks, builds, tests; ends with "N passed, N failed".
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/toolchain.sh"
cd "$root"
exec deno run -A scripts/gate.ts "$@"
