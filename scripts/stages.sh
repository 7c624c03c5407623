# shellcheck shell=bash disable=SC2154
# Sourced by scripts that work in stages in a folder $DIR: what a stage does, says and leaves behind. Needs say and ROOT (venv.sh).

fail() {
  say "error: $1"
  exit 1
}

stage() { say "$(date +%H:%M:%S)  $*"; }

# logged LOG COMMAND...: its output goes to LOG, and a line of it to the terminal now and then.
logged() {
  local log=$1 line next=$((SECONDS + 5))
  shift
  "$@" </dev/null 2>&1 | while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\n' "$line"
    if [ "$SECONDS" -ge "$next" ]; then
      say "          ${line:0:100}"
      next=$((SECONDS + 20))
    fi
  done >"$log"
}

# A stage counts only when it ended well, and for the same input.
is_done() { [ "$(cat "$DIR/$1.done" 2>/dev/null)" = "$2" ]; }

mark_done() { printf '%s\n' "$2" >"$DIR/$1.done"; }

checksum_of() { (cd "$ROOT" && find "$@" -type f ! -name '*.py[co]' ! -name '*.so' -print0 | sort -z | xargs -0 cksum) | cksum; }

# What pip said last, and what usually helps.
fail_with_pip() {
  local log=$1 what=$2 said
  said=$({ grep -E '^ *(ERROR|error):' "$log" || tail -n 1 "$log"; } | tail -n 1)
  fail "$what: ${said:-no output} (all of it: $log)
  see that pip's package index can be reached and the disk is not full, then run this again"
}

# The folder, made and locked: two runs at once would spoil each other's root.
take_folder() {
  case $DIR in *[[:space:]:]*) fail "$DIR has a blank or colon in its name, which proot cannot take; choose another with --dir" ;; esac
  mkdir -p "$DIR/wheels" || fail "$DIR cannot be made; choose another with --dir"
  DIR=$(cd "$DIR" && pwd -P)
  exec 9>"$DIR/lock"
  flock -n 9 || fail "another scripts/arm64 works in $DIR; wait for it, or choose another folder with --dir"
}
