#!/bin/bash -p
# The only file that sbatch is ever given: it takes the attempt's claim, runs the agent's command once, and writes how
# it ended (docs: protocol, "The wrapper"). Constant: no user text is in here, nothing is evaluated. It needs bash 4.4
# and coreutils 8.24. -p: BASH_ENV and functions of the submitter's environment have no say.
#
# slurmd runs a copy, so everything comes as arguments, made by agent/job/wrapper.py:
#   root task attempt image warn head_pieces tail_pieces beat_every_s beat_stop_s grace_s drain_s try_s
# Exit: the code's own; 0 if another copy owns the attempt; 75 if the code was not started.

# shellcheck disable=SC2015,SC2317 # `a && b || c` is meant; the handlers are called by traps
user_umask=$(umask)
umask 077
user_locale=${LC_ALL-unset}
LC_ALL=C # lengths are bytes, [a-z] is ASCII; given back to the user's code

SIGNALS='TERM INT HUP QUIT USR1 USR2'
PIECE_BYTES=1048576 RECORD_BYTES=4096
cgroup_list=/proc/self/cgroup cgroup_mount=/sys/fs/cgroup

signals=0 stops='' warnings='' stopping=0 stopped_for_beat=false
code_pid='' keeper_pid='' timer_pid='' nonce='' job_id=unknown node=unknown record='' log='' life='' log_pid='' beat_pid='' witness_pid='' teller_pid='' life_in=''

# --- small things -----------------------------------------------------------------------------------------------

# Keep whole paths only: `.`, or an empty part, is the current folder, and there user code may have put its programs.
clean_path() {
  local rest=${PATH-}: part kept=''
  while [[ $rest ]]; do
    part=${rest%%:*} rest=${rest#*:}
    [[ $part != /* ]] || kept+=${kept:+:}$part
  done
  export PATH=${kept:-/usr/local/bin:/usr/bin:/bin}
}

# Print text as the inside of a JSON string: printable ASCII, anything else as `?`.
json_text() {
  local text=${1//[^ -~]/?}
  text=${text//\\/\\\\}
  printf '%s' "${text//\"/\\\"}"
}

# Seconds since boot: no clock of the day is compared. Sets `uptime` (12.34) and `uptime_cs` (1234).
read_uptime() {
  read -r uptime _ </proc/uptime
  uptime_cs=${uptime/./}
}

# Run a program that a signal to the whole job must not end.
shielded() {
  # shellcheck disable=SC2064,SC2086
  (trap '' $SIGNALS && exec "$@")
}

read_nonce() {
  local one two
  read -r one </proc/sys/kernel/random/uuid && read -r two </proc/sys/kernel/random/uuid || return 1
  one=${one//-/} two=${two//-/}
  nonce=${one:0:12}${two:0:12}${one:20:8} # without the fixed digits 12 and 16 of a UUID: 128 random bits
  [[ $nonce =~ ^[0-9a-f]{32}$ ]]
}

ring_bell() { : >"$root/bell/$task"; } 2>/dev/null

# Put a complete, synced file in place under its final name; whoever links first decides, so ln's answer is not asked.
link_record() {
  shielded sync -- "$1" && { shielded ln -T -- "$1" "$2" 2>/dev/null; shielded sync -- "$control"; }
}

# Advice beside the log: one attempt, no matter if it fails.
write_advice() {
  local private=$control/.$1.$attempt.$nonce
  { printf '%s\n' "$2" >"$private" && link_record "$private" "$control/$1.$attempt.$nonce"; } 2>/dev/null
  rm -f -- "$private" 2>/dev/null
}

identity() { printf '"nonce":"%s","job_id":"%s","node":"%s"' "$nonce" "$job_id" "$node"; }

# Leave without having started the code: `refused` if it can, and 75. $1: the check's name, $2: a message.
refuse() {
  printf 'mltm: not started: %s: %s\n' "$1" "$2" >&2
  if [[ ${control-} && $nonce ]]; then
    write_advice refused "{\"kind\":\"refused\",$(identity),\"check\":\"$1\",\"message\":\"$(json_text "$2")\"}"
    ring_bell
  fi
  leave 75
}

# Another copy (or an agent) owns this attempt: say so and step aside.
step_aside() {
  printf 'mltm: stepped aside: %s\n' "$1" >&2
  write_advice dup "{\"kind\":\"dup\",$(identity)}"
  ring_bell
  leave 0
}

leave() {
  [[ ! $record ]] || rm -f -- "$record" "$control/.claim.$attempt.$nonce" 2>/dev/null
  exit "$1"
}

# --- signals ----------------------------------------------------------------------------------------------------

note_stop() {
  read_uptime
  signals=$((signals + 1))
  ((signals > 20)) || stops+="${stops:+,}{\"name\":\"$1\",\"uptime_s\":$uptime}"
  [[ ! $code_pid ]] || { start_timer && start_teller "$1"; }
}

# USR1 warns of the time limit; only tasks that asked for it get it.
note_warning() {
  read_uptime
  signals=$((signals + 1))
  ((signals > 20)) || warnings+="${warnings:+,}{\"name\":\"USR1\",\"uptime_s\":$uptime}"
  [[ $warn == 0 || ! $code_pid ]] || kill -USR1 "$code_pid" 2>/dev/null
}

# The watcher of the beat: nobody but us knows of this stop, so it is also ours to tell the code.
note_lost_beat() {
  stopping=1 stopped_for_beat=true
  [[ ! $code_pid ]] || kill -TERM -- "-$code_pid" 2>/dev/null
  note_stop BEAT
}

# What has not ended by then is killed, so that the exit record is written before Slurm's own KILL.
start_timer() { [[ $timer_pid ]] || start_helper timer_pid 0 deaf kill_code_late; }

kill_code_late() { sleep "$grace_s" && kill -KILL -- "-$code_pid"; } </dev/null

# Slurm's stop signals reach the whole job, the code too, and it must not get a second one; but `scancel --signal=TERM`
# with --batch or --full comes to us alone (22.05; docs/decisions/0011). If the witness lives on, the code is told.
start_teller() {
  [[ $1 != BEAT && $witness_pid && ! $teller_pid ]] || return 0
  start_helper teller_pid 0 deaf tell_code "$1"
}

tell_code() { sleep 2 && is_alive "$witness_pid" && kill -s "$1" -- "-$code_pid"; } </dev/null

is_alive() {
  local line
  read -r line <"/proc/$1/stat" && [[ ${line##*) } != [ZX]* ]]
} 2>/dev/null

# bash may leave a handler when the next signal comes at once (5.2: four in a row, one of them lost), so that a stop is
# on record with the handler's first command.
catch_signals() {
  trap 'stopping=1; note_stop TERM' TERM
  trap 'stopping=1; note_stop INT' INT
  trap 'stopping=1; note_stop HUP' HUP
  trap 'stopping=1; note_stop QUIT' QUIT
  trap note_warning USR1
  trap note_lost_beat USR2
}

# --- before the claim: everything that can fail -----------------------------------------------------------------

read_arguments() {
  local number='^[0-9]{1,9}$' seconds='^[0-9]{1,6}([.][0-9]{1,3})?$' value
  (($# == 12)) || refuse arguments "expected 12 arguments, got $#"
  root=$1 task=$2 attempt=$3 image=$4 warn=$5 head_pieces=$6 tail_pieces=$7
  beat_every_s=$8 beat_stop_s=$9 grace_s=${10} drain_s=${11} try_s=${12}
  [[ $root == /* && $task =~ ^[0-9a-f]{32}$ && $attempt =~ ^[0-9]{2,9}$ ]] || refuse arguments 'root, task or attempt is not valid'
  for value in "$image" "$warn" "$head_pieces" "$tail_pieces" "$beat_stop_s" "$try_s"; do
    [[ $value =~ $number ]] || refuse arguments "$value is not a whole number"
  done
  for value in "$beat_every_s" "$grace_s" "$drain_s"; do
    [[ $value =~ $seconds ]] || refuse arguments "$value is not a number of seconds"
  done
  folder=$root/tasks/$task notes=$root/agent/notes logs=$root/tasks/$task/logs/a$attempt
}

read_identity() {
  read_nonce || refuse random 'cannot read /proc/sys/kernel/random/uuid'
  control=$folder/control
  job_id=${SLURM_JOB_ID-} array_index=''
  if [[ ${SLURM_ARRAY_TASK_ID-} ]]; then # the last element's SLURM_JOB_ID is the array's own
    job_id=${SLURM_ARRAY_JOB_ID-}_$SLURM_ARRAY_TASK_ID array_index=$SLURM_ARRAY_TASK_ID
  fi
  node=${SLURMD_NODENAME:-${HOSTNAME%%.*}}
  node=${node//[^A-Za-z0-9._-]/?}
  [[ $job_id =~ ^[0-9]+(_[0-9]+)?$ ]] || { job_id=unknown; refuse job_id 'SLURM_JOB_ID is not set: submit this script with sbatch'; }
  read -r boot_id </proc/sys/kernel/random/boot_id || refuse boot_id 'cannot read /proc/sys/kernel/random/boot_id'
}

# Opening a folder asks the file server again (close-to-open), so that what is looked up next is not an old answer.
open_again() { { exec {again}<"$1"; } 2>/dev/null && exec {again}<&-; }

check_log() {
  local line=''
  open_again "$control" || refuse control "cannot open the folder of records: $control"
  { IFS= read -r line <"$control/intent.$attempt"; } 2>/dev/null || refuse intent 'cannot read the intent'
  [[ $line == '{"kind":"submit"'* ]] || refuse intent 'the intent does not say submit: this attempt is closed'
  check_note
}

check_note() {
  open_again "$notes" && [[ -x $notes ]] || refuse notes "cannot open the folder of notes: $notes"
  [[ ! -e $notes/$task.$attempt && ! -L $notes/$task.$attempt ]] || step_aside 'an agent noted the claim of another copy'
}

# The agent's NUL-separated files, complete: the last entry has its NUL too.
read_lists() {
  local rest='' pair
  mapfile -d '' -t argv 2>/dev/null <"$control/argv.$attempt" || refuse argv 'cannot read the command file'
  mapfile -d '' -t env_pairs 2>/dev/null <"$control/env.$attempt" || refuse env 'cannot read the environment file'
  mapfile -d '' -t checks 2>/dev/null <"$control/checks.$attempt" || refuse checks 'cannot read the file of checks'
  open_pipe && result_in=$reader result_out=$writer && open_pipe && life_in=$reader life=$writer ||
    refuse pipe 'cannot open a pipe on this node'
  ((${#argv[@]})) && [[ ${argv[0]} ]] || refuse argv 'the command file is empty'
  for pair in "${env_pairs[@]}"; do
    [[ $pair =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || refuse env 'an entry of the environment file is not NAME=VALUE'
  done
}

check_paths() {
  local path
  for path in "${checks[@]}"; do
    { exec {again}<"$path"; } 2>/dev/null || refuse path "cannot read on this node: $path"
    exec {again}<&-
  done
  type -P -- "${argv[0]}" >/dev/null || refuse program "not found on this node: ${argv[0]}"
  [[ -x $folder/work ]] || refuse work "the working folder is missing on this node: $folder/work"
  mkdir -p -- "$logs" 2>/dev/null || refuse logs "cannot create the folder of logs: $logs"
}

# The exit record's blocks are taken now, under a private name, so that a full disk cannot keep it from being written.
reserve_record() {
  record=$control/.exit.$attempt.$nonce
  { printf "%$((RECORD_BYTES - 1))s\n" '' >"$record" && sync -- "$record"; } 2>/dev/null ||
    refuse space "no space for the records in $control"
}

# --- the claim --------------------------------------------------------------------------------------------------

take_claim() {
  local private=$control/.claim.$attempt.$nonce claim=$control/claim.$attempt line index=''
  [[ ! $array_index ]] || index="\"array_index\":$array_index,"
  line="{\"kind\":\"job\",${index}$(identity),\"boot_id\":\"$boot_id\",\"pid\":$$,\"at\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"}"
  { printf '%s\n' "$line" >"$private" && shielded sync -- "$private"; } 2>/dev/null ||
    refuse space "no space for the claim in $control"
  ((stopping == 0)) || refuse stopped 'a stop signal came before the claim'
  link_record "$private" "$claim" || refuse sync 'cannot sync the folder of records after the claim'
  rm -f -- "$private" 2>/dev/null
  decide_claim "$claim" "$line"
}

# Won means that the record read back is ours, whatever link() returned.
decide_claim() {
  local decided=''
  { IFS= read -r decided <"$1"; } 2>/dev/null || refuse claim 'cannot read the claim back'
  [[ $decided == '{"kind":'*'"nonce":"'* ]] || refuse claim 'the claim that was read back is incomplete'
  [[ $decided == "$2" ]] || step_aside 'the claim is taken'
}

# --- helpers: they end with their input or with us --------------------------------------------------------------

# Start a helper ("${@:3}") in a process group of its own, so that one kill ends it with all that it started. $1: the
# variable that gets its pid. $2: the descriptor that is its standard input. It holds none of our descriptors: nobody
# would see the end of the log or of us while it lives. All is redirected in the child: bash may leave a handler (and
# this) half-way, and then nothing is left redirected here.
start_helper() {
  set -m
  ("${@:3}") <&"$2" >/dev/null 2>&1 {reader}<&- {log}>&- {life}>&- {life_in}<&- {result_in}<&- {result_out}>&- &
  printf -v "$1" %d "$!"
  set +m
}

# Run a function that a signal to the whole job must not end.
deaf() {
  # shellcheck disable=SC2086
  trap '' $SIGNALS && "$@"
}

# Sets `reader` and `writer`: the two ends of an anonymous pipe.
open_pipe() {
  local both
  exec {both}<> <(:) && exec {reader}</dev/fd/"$both" {writer}>/dev/fd/"$both" {both}>&-
}

# Copy the pipe to numbered pieces of PIECE_BYTES; beyond head and tail the oldest middle piece goes. dd writes what
# each read brings at once; a piece's size on disk is the only memory. What cannot be written is dropped: the user's
# code must not hang on a full disk.
keep_log() {
  local number=0 size left bs piece old
  while :; do
    printf -v piece '%s/out.%06d' "$logs" "$number"
    size=$(stat -c %s -- "$piece" 2>/dev/null) || size=0
    left=$((PIECE_BYTES - size)) bs=8192
    if ((left <= 0)); then
      number=$((number + 1)) old=$((number - tail_pieces))
      ((old < head_pieces)) || rm -f -- "$logs/out.$(printf %06d "$old")"
      continue
    fi
    ((left >= bs)) || bs=$left
    if dd bs=$bs count=$((left / bs)) of="$piece" oflag=append conv=notrunc status=none; then
      [[ $(stat -c %s -- "$piece") != "$size" ]] || return 0 # dd read nothing: the end
    else
      [[ ! -d $logs ]] && mkdir -p -- "$logs" && continue # the user's code removed it
      [[ $(dd bs=65536 count=1 status=none | wc -c) != 0 ]] || return 0
    fi
  done
}

start_log() {
  if open_pipe; then
    log=$writer
    start_helper log_pid "$reader" deaf keep_log
    exec {reader}<&-
  else
    exec {log}>/dev/null
  fi
}

# Touch the beat for ever; each touch that came back is a line for the watcher, who never waits for one. A cancel with
# which no stop has come to the job by the next beat is ours to carry out: Slurm is away, or knows another copy only.
touch_beat() {
  local wishes=0
  while :; do
    touch -- "$control/beat.$attempt" 2>/dev/null && printf 'b\n'
    [[ ! -e $control/cancel ]] || ((wishes++ != 1)) || ! is_alive "$witness_pid" || kill -TERM $$
    sleep "$beat_every_s"
  done
}

# Tell the wrapper when no touch came back for beat_stop_s; a job that was suspended gets 20 s after it wakes. Ends when
# the wrapper's end of the pipe closes, and takes the toucher along.
watch_beat() {
  local last seen beats pause=$((beat_stop_s < 20 ? 1 : 5))
  exec {beats}< <(touch_beat)
  read_uptime
  last=$uptime_cs seen=$uptime_cs
  while read -r -t "$pause" _; (($? > 128)); do
    read_uptime
    ((uptime_cs - seen < 3000)) || last=$((uptime_cs - beat_stop_s * 100 + 2000))
    seen=$uptime_cs
    while read -r -t 0 -u "$beats"; do read -r -u "$beats" _ && last=$uptime_cs || break; done
    ((uptime_cs - last < beat_stop_s * 100)) || { kill -USR2 $$ && break; }
  done
  kill -KILL -- "-$BASHPID"
}

start_witness() { start_helper witness_pid "$life_in" die_of_a_stop; }

# Do nothing but die of a stop signal, or end with us.
die_of_a_stop() {
  # shellcheck disable=SC2086
  trap - $SIGNALS && trap '' USR1 USR2 && read -r _
}

start_beat() { start_helper beat_pid "$life_in" deaf watch_beat; }

# --- the code ---------------------------------------------------------------------------------------------------

# Becomes the user's process: its own umask, folder, variables; no record is open in it. Arguments are used because
# an exported name may be that of any variable here.
run_code() {
  # shellcheck disable=SC2086
  trap - $SIGNALS
  umask "$user_umask"
  # A container starts in the work folder by its own option. What starts it must find nothing there.
  if [[ $image == 0 ]]; then cd -- "$folder/work"; else cd /; fi || exit 126
  if [[ $user_locale == unset ]]; then unset -v LC_ALL; else LC_ALL=$user_locale; fi
  set -- "${#env_pairs[@]}" "${env_pairs[@]}" "${argv[@]}"
  unset -v argv env_pairs checks
  MLTM_left=$1 && shift
  # shellcheck disable=SC2163
  while ((MLTM_left-- > 0)); do export -- "$1" && shift; done
  unset -v MLTM_left
  exec -- "$@"
}

# Between us and the code: it ignores signals, so that its `wait` is never left half-way. Ours would be: bash 5.2 jumps
# out of it when a trapped signal comes, and when the code died of the same signal its status was lost with that jump,
# and the next `wait` had no end (one cancelled job in three). Writes the code's pid, and later its exit code.
keep_code() {
  # shellcheck disable=SC2086
  trap '' $SIGNALS
  set -m # a process group of its own, and SIGINT not ignored
  run_code </dev/null 1>&"$log" 2>&1 {log}>&- {life}>&- {life_in}<&- {result_in}<&- {result_out}>&- &
  code_pid=$!
  set +m
  exec {log}>&- {life}>&- {result_in}<&-
  start_helper guard_pid "$life_in" guard_code
  printf '%d\n' "$code_pid" >&"$result_out"
  wait "$code_pid"
  code=$?
  kill -KILL -- "-$guard_pid" 2>/dev/null
  printf '%d\n' "$code" >&"$result_out"
}

# Code without a wrapper would go on unseen (scancel --batch kills the batch shell alone, and Slurm says FAILED).
guard_code() { read -r _ || kill -KILL -- "-$code_pid"; }

start_code() {
  oom_before=$(read_oom_kills)
  started_at=$(shielded date -u +%Y-%m-%dT%H:%M:%SZ)
  read_uptime
  started_cs=$uptime_cs
  ((stopping == 0)) || return 0
  set -m
  (keep_code) &
  keeper_pid=$!
  set +m
  exec {result_out}>&- {life_in}<&-
  read_result && code_pid=$result
  ((stopping == 0)) || start_timer
}

# Sets `result` to the keeper's next line; false: the keeper is gone. A signal may interrupt the read, also half-way. It
# looks up each half second, because bash 5.2 may sleep on with a stop untold: SIGCHLD (the witness died of that stop)
# restarts a read, and a trap that comes beside it waits until the read returns.
read_result() {
  local piece status
  result=''
  while :; do
    read -r -t 0.5 -u "$result_in" piece
    status=$? result+=$piece
    ((status == 0)) && return 0
    ((status > 128)) || return 1
  done
}

# 143: stopped before the start. 137: nobody can tell any more, because the keeper was killed.
wait_for_code() {
  code=143
  [[ ! $keeper_pid ]] || { code=137 && read_result && code=$result; }
  read_uptime
  ended_cs=$uptime_cs
  # Slurm signals one process after the other: a stop that ended the code may reach us a moment later.
  shielded sleep 0.3
  # shellcheck disable=SC2086
  trap '' $SIGNALS
  ((stopping == 0)) || [[ $stops ]] || stops="{\"name\":\"TERM\",\"uptime_s\":$uptime}"
  [[ ! $timer_pid ]] || kill -KILL -- "-$timer_pid" 2>/dev/null
  [[ ! $teller_pid ]] || kill -KILL -- "-$teller_pid" 2>/dev/null
  [[ ! $code_pid ]] || kill -KILL -- "-$code_pid" 2>/dev/null
}

# How many processes of our cgroup the kernel killed for memory; nothing if no cgroup tells.
read_oom_kills() {
  local line path='' name count
  while IFS= read -r line; do
    case $line in
      *:memory:* | *:memory,*:* | *,memory:*) path=$cgroup_mount/memory${line#*:*:}/memory.oom_control ;;
      0::*) [[ $path ]] || path=$cgroup_mount${line#0::}/memory.events ;;
    esac
  done <"$cgroup_list"
  while read -r name count; do
    [[ $name != oom_kill ]] || printf '%s' "$count"
  done <"$path"
} 2>/dev/null

# --- the end ----------------------------------------------------------------------------------------------------

# A process that left the group may hold the log open for ever: wait for its end only so long.
end_log() {
  exec {log}>&- {life}>&-
  [[ ! $beat_pid ]] || kill -KILL -- "-$beat_pid" 2>/dev/null
  [[ $log_pid ]] || return 0
  start_helper timer_pid 0 kill_log_late
  wait "$log_pid" 2>/dev/null
  kill -KILL -- "-$timer_pid" 2>/dev/null
}

kill_log_late() { sleep "$drain_s" && kill -KILL -- "-$log_pid"; } </dev/null

render_exit() {
  local oom_after oom=null started=null elapsed_cs=$((ended_cs - started_cs)) ended_at
  local marker=$control/started.$attempt/image
  oom_after=$(read_oom_kills)
  [[ ! $oom_before || ! $oom_after ]] || oom=$((oom_after - oom_before))
  # -L: user code may put a link there, which must not tell it what exists outside of its container.
  [[ $image == 0 ]] || { [[ -e $marker || -L $marker ]] && started=true || started=false; }
  ended_at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  printf '{"kind":"exit",%s,"boot_id":"%s","code":%d,"started_at":"%s","ended_at":"%s","elapsed_s":%d.%02d,' \
    "$(identity)" "$boot_id" "$code" "$started_at" "$ended_at" $((elapsed_cs / 100)) $((elapsed_cs % 100))
  printf '"stop_signals":[%s],"ended_uptime_s":%d.%02d,"warnings":[%s],"stopped_for_beat":%s,"oom_kills":%s,' \
    "$stops" $((ended_cs / 100)) $((ended_cs % 100)) "$warnings" "$stopped_for_beat" "$oom"
  printf '"image_started":%s}' "$started"
}

# Written over the reserved blocks, which are never given back to a full disk before it is linked.
put_exit() {
  local target=$control/exit.$attempt found=''
  { printf "%-$((RECORD_BYTES - 1))s\n" "$1" 1<>"$record" && link_record "$record" "$target"; } 2>/dev/null
  { IFS= read -r found <"$target"; } 2>/dev/null
  [[ $found == *"\"nonce\":\"$nonce\""* ]]
}

# The code's /tmp and what former attempts left of theirs: it may be large, and nobody reads it again. Only what lies
# at these names goes: rm follows no link, and user code cannot reach the names. After the record: a kill costs nothing.
remove_temporary() {
  local number name names=()
  for ((number = 1; number <= 10#$attempt; number++)); do
    printf -v name '%s/tmp.%02d' "$folder" "$number"
    names+=("$name")
  done
  rm -rf -- "${names[@]}" || {
    chmod -R -- u+rwX "${names[@]}" # folders that user code closed to itself
    rm -rf -- "${names[@]}"
  }
} 2>/dev/null

finish() {
  local line last
  end_log
  line=$(render_exit)
  read_uptime
  last=$((uptime_cs + try_s * 100))
  until put_exit "$line"; do
    read_uptime
    ((uptime_cs < last)) || { printf 'mltm: cannot write the exit record: %s\n' "$line" >&2 && break; }
    sleep 1
  done
  ring_bell
  [[ $image == 0 ]] || remove_temporary
  leave "$code"
}

main() {
  catch_signals
  clean_path
  read_arguments "$@"
  read_identity
  check_log
  read_lists
  check_paths
  reserve_record
  check_note
  take_claim
  start_log
  start_witness
  start_beat
  start_code
  wait_for_code
  finish
}

main "$@"
