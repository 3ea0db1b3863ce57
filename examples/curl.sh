#!/bin/sh
# A task with nothing but curl: log in, hand it in, wait for its end, read its log, fetch its outputs.
#
#     MLTM_USER=ada MLTM_PASSWORD=… sh examples/curl.sh examples/wine/config.json examples/wine/script.py results
#
# MLTM_URL is the gateway's address. For a certificate of your own authority: export CURL_CA_BUNDLE=ca.pem.
set -eu

if [ $# -lt 2 ] || [ -z "${MLTM_USER:-}" ] || [ -z "${MLTM_PASSWORD:-}" ]; then
  echo "usage: MLTM_USER=… MLTM_PASSWORD=… sh examples/curl.sh CONFIG SCRIPT [FOLDER]" >&2
  exit 2
fi
url=${MLTM_URL:-http://127.0.0.1:8008}
config=$1
script=$2
folder=${3:-results}

fail() {
  printf '%s\n' "$*" >&2 # the problem document: it says what is wrong and what to do
  exit 1
}

# Reads the first value of that name in a JSON answer (where there is jq, jq -r .name does it better).
value() { grep -o '"'"$1"'": *"\{0,1\}[^",}]*' | head -n 1 | sed 's/^"[^"]*": *"\{0,1\}//'; }

# Password and token go through stdin, so that neither stands in the list of processes.
answer=$(printf '%s' "$MLTM_PASSWORD" | curl -sS --fail-with-body "$url/auth/login" -d grant_type=password \
  --data-urlencode "username=$MLTM_USER" --data-urlencode "password@-") || fail "$answer"
token=$(printf '%s' "$answer" | value access_token)
call() { printf 'Authorization: Bearer %s\n' "$token" | curl -sS --globoff --fail-with-body -H @- "$@"; }

# The key makes it safe to send this again when no answer came: it cannot become two tasks. So curl may try again, too.
key="curl-$(date +%s)-$$"
answer=$(call --retry 5 --retry-connrefused -H "Idempotency-Key: $key" "$url/v1/tasks" \
  -F "config=@$config" -F "script=@$script") || fail "$answer"
task=$(printf '%s' "$answer" | value task_id)
echo "task $task"

state=
while :; do
  answer=$(call "$url/v1/tasks/$task") || fail "$answer"
  now=$(printf '%s' "$answer" | value state)
  [ "$now" = "$state" ] || { state=$now; echo "$(date +%T) $state"; }
  [ "$(printf '%s' "$answer" | value final)" = true ] && break
  sleep 2
done

echo "--- the end of its log"
call "$url/v1/tasks/$task/log?offset=-2000"
echo "--- its outputs"
answer=$(call "$url/v1/tasks/$task/outputs") || fail "$answer"
printf '%s' "$answer" | grep -o '"path": *"[^"]*"' | sed 's/^"path": *"//; s/"$//' | while read -r path; do
  case "/$path/" in */../*) continue ;; esac
  place=$(printf '%s' "$path" | sed 's/%/%25/g; s/ /%20/g; s/#/%23/g; s/?/%3F/g')
  call --create-dirs -o "$folder/$path" "$url/v1/tasks/$task/outputs/$place"
  echo "$folder/$path"
done
[ "$state" = succeeded ]
