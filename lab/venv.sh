#!/bin/sh
# Makes the environment $1 with the Python $2 (none: the first of the usual names that will do), or says what is
# missing. As root it installs that. It is sh, because no Python is sure to be there.
set -u
venv=$1
shift
[ $# -gt 0 ] || set -- python3 python3.14 python3.13 python3.12 python3.11
allowed="Python 3.11, 3.12, 3.13 or 3.14"

read_version() { # 3.11; nothing for what is not a Python
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() {
  for candidate; do
    case $(read_version "$candidate") in 3.11 | 3.12 | 3.13 | 3.14) echo "$candidate" && return ;; esac
  done
  return 1
}

fail() {
  echo "make: $1" >&2
  exit 1
}

install_packages() {
  command="apt-get update && apt-get install -y --no-install-recommends $*"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "$why Ask an administrator for: $command (Debian), then run make again."
  fi
  echo "make: installing $* ..." >&2
  said=$(apt-get update -q 2>&1 &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o DPkg::Lock::Timeout=300 --no-install-recommends "$@" 2>&1) ||
    fail "$why Installing failed: $(echo "$said" | tail -n 3). Try by hand: $command"
}

if ! python=$(find_python "$@"); then
  for candidate; do
    version=$(read_version "$candidate")
    [ -z "$version" ] || fail "$candidate is Python $version; this project needs $allowed. Name one: make PYTHON=python3.12 ..."
  done
  why="There is no Python ($*) here; this project needs $allowed."
  install_packages python3 python3-venv
  python=$(find_python "$@") || fail "$why Debian's own does not do: $(python3 --version 2>&1). Name one: make PYTHON=..."
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  why="$python cannot make virtual environments: its module ensurepip is missing."
  install_packages "python$(read_version "$python")-venv"
fi
exec "$python" -m venv "$venv"
