#!/bin/sh
# Brings what the bench compares with into .tools/peers: lmdb and ioredis from
# npm, redis-server from Debian's packages unless one is on PATH. Nothing of it
# is part of cortex, and the system is not touched.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
peers="$root/.tools/peers"

LMDB_PIN=3.5.6
IOREDIS_PIN=6.0.0
# What redis-server needs beside libc, of which a small system has not all.
REDIS_PACKAGES="redis-tools libatomic1 libjemalloc2 liblzf1 libssl3 libsystemd0"

say() { printf '%s\n' "$*" >&2; }

# Its binary comes as a package of its own, so that no script has to run.
bring_packages() {
  npm install --prefix "$peers" --ignore-scripts --no-audit --no-fund \
    --no-package-lock --loglevel=error \
    "lmdb@$LMDB_PIN" "ioredis@$IOREDIS_PIN" >&2
}

link_redis() {
  mkdir -p "$peers/bin"
  ln -sfn "$1" "$peers/bin/redis-server"
}

# Unpacks Debian's packages beside each other, and starts the server with their
# libraries.
bring_redis() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
    say "Cannot bring redis-server: there is none on PATH, nor apt-get to bring one"
    return 1
  }
  mkdir -p "$peers/redis" "$peers/bin"
  (
    cd "$peers/redis"
    # shellcheck disable=SC2086
    apt-get download -qq -o APT::Sandbox::User=root $REDIS_PACKAGES >&2 || {
      say "Cannot bring redis-server: apt-get download failed; run apt-get update first"
      exit 1
    }
    for package in *.deb; do dpkg -x "$package" .; done
    rm -- *.deb
  )
  # It is one program of several names, and becomes what it is called.
  ln -sfn redis-check-rdb "$peers/redis/usr/bin/redis-server"
  libraries=$(find "$peers/redis" -type d -name '*-linux-gnu' | paste -s -d :)
  cat >"$peers/bin/redis-server" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH="$libraries" exec "$peers/redis/usr/bin/redis-server" "\$@"
WRAPPER
  chmod +x "$peers/bin/redis-server"
}

bring_packages
if server=$(command -v redis-server); then link_redis "$server"; else bring_redis; fi
"$peers/bin/redis-server" --version >&2
