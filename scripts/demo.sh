#!/bin/sh
# Sets up, builds dist/cortex, and runs the main job on a real engine's cache.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/toolchain.sh"
cd "$root"
[ -n "${CORTEX_SKIP_BUILD:-}" ] || deno run -A scripts/build.ts
exec deno run -A --node-modules-dir=manual scripts/demo/main.ts "$@"
