#!/bin/bash
# The inside of `lab/roots/enter.py`: runs in a mount and PID namespace of its own, as root, and ends in another root folder.
# What is written there goes to a layer in memory and is gone afterwards; only /tmp and the bound folders are on disk.
#
#   enter.sh ROOT SCRATCH USER UID BIND... -- ARGV...      BIND: a path, or a path and `:ro`
set -euo pipefail
root=$1 scratch=$2 user=$3 uid=$4
shift 4

binds=()
while [ "$1" != -- ]; do
  binds+=("$1")
  shift
done
shift

make_device() { mknod -m 666 "$new/dev/$1" c "$2" "$3"; }

cover() {
  mkdir -p "$scratch/cover" "$scratch/tmp" "$scratch/srv"
  chmod 1777 "$scratch/tmp" "$scratch/srv"
  mount -t tmpfs -o mode=755 lab-cover "$scratch/cover"
  mkdir "$scratch/cover/upper" "$scratch/cover/work" "$scratch/cover/root"
  new=$scratch/cover/root
  mount -t overlay lab-root -o "lowerdir=$root,upperdir=$scratch/cover/upper,workdir=$scratch/cover/work" "$new"
  mount -t proc proc "$new/proc"
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$new/sys"
  mount --bind "$scratch/tmp" "$new/tmp"
  mount --bind "$scratch/srv" "$new/srv"
}

# Our own nodes: the host's /dev/fuse is often root's alone, and its other devices are nobody's business here.
make_devices() {
  mount -t tmpfs -o mode=755 dev "$new/dev"
  mkdir "$new/dev/shm" "$new/dev/pts"
  chmod 1777 "$new/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$new/dev/pts"
  make_device null 1 3
  make_device zero 1 5
  make_device full 1 7
  make_device random 1 8
  make_device urandom 1 9
  make_device tty 5 0
  make_device fuse 10 229
  ln -s pts/ptmx "$new/dev/ptmx"
  ln -s /proc/self/fd "$new/dev/fd"
  ln -s /proc/self/fd/0 "$new/dev/stdin"
  ln -s /proc/self/fd/1 "$new/dev/stdout"
  ln -s /proc/self/fd/2 "$new/dev/stderr"
}

# The network is the host's: so are the names in it. munged wants the machine's own name to be known.
name_things() {
  local file
  for file in hosts resolv.conf; do [ ! -r "/etc/$file" ] || cp -L --remove-destination "/etc/$file" "$new/etc/$file"; done
  printf '\n127.0.1.1 %s\n' "$(hostname)" >>"$new/etc/hosts"
  [ "$user" = root ] && return
  printf '%s:x:%s:%s::/home/%s:/bin/bash\n' "$user" "$uid" "$uid" "$user" >>"$new/etc/passwd"
  printf '%s:x:%s:\n' "$user" "$uid" >>"$new/etc/group"
  install -d -m 700 -o "$uid" -g "$uid" "$new/home/$user"
}

bind_all() {
  local item path
  for item in "${binds[@]}"; do
    path=${item%:ro}
    if [ -d "$path" ]; then
      mkdir -p "$new$path"
    else
      mkdir -p "$new$(dirname "$path")"
      [ -e "$new$path" ] || : >"$new$path"
    fi
    mount --rbind "$path" "$new$path"
    [ "$item" = "$path" ] || mount -o remount,bind,ro "$new$path"
  done
}

turn() {
  local folder=$PWD
  mkdir "$new/.old"
  cd "$new"
  pivot_root . .old
  cd /
  umount -l /.old
  rmdir /.old
  cd "$folder" 2>/dev/null || cd /
}

cover
make_devices
name_things
bind_all
turn
drop=()
[ "$user" = root ] || drop=(setpriv --reuid="$uid" --regid="$uid" --clear-groups --inh-caps=-all --)
# This shell stays as process 1: it takes in orphans, and with its end the kernel ends whatever is left.
# env: bash starts what it does not wait for with INT and QUIT ignored, and a program's children inherit that.
"${drop[@]}" env --default-signal=INT,QUIT -- "$@" <&0 &
child=$!
trap 'kill -TERM "$child"' TERM INT HUP
code=0
wait "$child" || code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child" && code=0 || code=$?; done
exit "$code"
