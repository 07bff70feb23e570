# Sourced by the other scripts: puts Deno and Bun of the pinned versions on PATH.
# What the machine has is used if it fits; else npm brings them into .tools/,
# which git ignores and the system never sees.

DENO_PIN=2.9.6
BUN_PIN=1.4.5

tools="$root/.tools"
PATH="$tools/bin:$PATH"
export PATH

say() { printf '%s\n' "$*" >&2; }

# Whether command $1 is there in a version that begins as $2.
fits() {
  case "$("$1" --version 2>/dev/null | head -n 1)" in
    "$2"*) return 0 ;;
    *) return 1 ;;
  esac
}

# Installs npm package $1 at version $2 and links its file $3 as $4.
bring() {
  say "Installing $4 $2 into .tools/"
  npm install --prefix "$tools/$4" --ignore-scripts --no-audit --no-fund \
    --loglevel=error "$1@$2" >&2 || return 1
  mkdir -p "$tools/bin"
  chmod +x "$tools/$4/node_modules/$1/$3"
  ln -sfn "../$4/node_modules/$1/$3" "$tools/bin/$4"
}

no_npm() {
  say "Cannot set up cortex: Deno $DENO_PIN and Bun $BUN_PIN are not on PATH, nor is npm to bring them"
  say "  curl -fsSL https://deno.land/install.sh | sh -s v$DENO_PIN"
  say "  curl -fsSL https://bun.sh/install | bash -s bun-v$BUN_PIN"
  exit 1
}

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) deno_package=@deno/linux-x64-glibc bun_package=@oven/bun-linux-x64 ;;
  Linux-aarch64) deno_package=@deno/linux-arm64-glibc bun_package=@oven/bun-linux-aarch64 ;;
  *)
    say "Cannot set up cortex: it runs on Linux, on x86-64 or arm64"
    exit 1
    ;;
esac

fits deno "deno ${DENO_PIN%.*}." || {
  command -v npm >/dev/null || no_npm
  bring "$deno_package" "$DENO_PIN" deno deno || exit 1
}
fits bun "${BUN_PIN%.*}." || {
  command -v npm >/dev/null || no_npm
  bring "$bun_package" "$BUN_PIN" bin/bun bun || exit 1
}

# The libraries of deno.json, exactly as deno.lock has them.
(cd "$root" && deno install --frozen --quiet) || {
  say "Cannot set up cortex: the libraries of deno.lock could not be installed"
  exit 1
}
