#!/bin/sh
# Keeps one good version of the agent running, and tries a new one when the agent has put it ready. It is a shell script because a second
# Node would cost 40 MB; it takes one. `homeostat-agent run` starts it.
#
#   homeostat-agent.sh NODE RELEASE CONFIG DIR TRIAL_SECONDS [BACK_OFF_SECONDS_MAX]
#
# What stands in DIR/update, each written beside and renamed, so that a power cut leaves the old or the new:
#   current   the version in DIR/versions that is known to be good; none: RELEASE
#   previous  the one before it
#   next      a version to try, put there by the agent, which then ends
#   trial     a version that is being tried: found at a start, it did not survive its trial
#   healthy   the pid of an agent that has shown that it is well
#   bad/V     why version V is never tried again
#   exits     how often the agent has ended by itself, and how the last time
set -u
umask 077

node=$1
release=$2
config=$3
dir=$4
trial_s=$5
state=$dir/update

# An agent that ran this long did not fail at its start.
steady_s=60
back_off_s_max=${6:-60}
# So many starts in a row that did not last, and the version before is taken.
failures_max=5
stop_s=10

child=
stopping=
failures=0
back_off_s=1
exits=0
mkdir -p "$state/bad" "$dir/versions" || exit 73

say() { printf '{"level":"info","component":"supervisor","message":"%s"}\n' "$1" >&2; }

# Two would end each other's agents, and then run two on one journal and one spool. Nothing that is started here keeps the lock: it is free
# once this process has ended, however that came. The folder itself is locked: that takes no room on a disk that is full.
exec 9<"$state"
if command -v flock >/dev/null 2>&1 && ! flock -n 9; then
  say "another supervisor runs an agent in $dir already: this one ends"
  exit 1
fi

# Where this is alone in a control group of its own (v2; a service with Delegate=yes), it goes on in one below it, and the agent with it: a
# group with processes in it can have no others beside it that have limits, and the agent makes those for its commands.
enter_group() {
  group=
  while IFS= read -r line; do
    case $line in 0::/?*) group=/sys/fs/cgroup${line#0::} ;; esac
  done </proc/self/cgroup
  case $group in '' | */homeostat-agent) return ;; esac
  [ -w "$group/cgroup.procs" ] || return
  while IFS= read -r pid; do
    [ "$pid" = $$ ] || return
  done <"$group/cgroup.procs"
  mkdir -p "$group/homeostat-agent" && echo $$ >"$group/homeostat-agent/cgroup.procs"
}

# The one line of a file; nothing when it is not there.
line_of() {
  line=
  [ -r "$state/$1" ] && IFS= read -r line <"$state/$1"
  printf '%s' "$line"
}

write() {
  printf '%s\n' "$2" >"$state/$1.new" && mv -f "$state/$1.new" "$state/$1" && sync
}

# Versions name folders: nothing else may stand in one.
folder_of() {
  case $1 in
    '' | .* | *[!0-9A-Za-z.-]*) return 1 ;;
  esac
  [ -r "$dir/versions/$1/bin/homeostat-agent.mjs" ] && printf '%s' "$dir/versions/$1"
}

good_folder() {
  folder_of "$(line_of current)" || printf '%s' "$release"
}

nap() {
  sleep "$1" 9>&- &
  wait $!
}

alive() { [ -n "$child" ] && kill -0 "$child" 2>/dev/null; }

start() {
  rm -f "$state/healthy"
  started_at=$(date +%s)
  "$node" "$1/bin/homeostat-agent.mjs" serve --config "$config" 9>&- &
  child=$!
  printf '%s\n' "$child" >"$state/pid"
}

# How the child ended, in $code; returns when it has, whatever signals come meanwhile.
reap() {
  code=0
  while :; do
    wait "$child"
    code=$?
    alive || break
  done
  child=
}

stop_child() {
  alive || return 0
  kill -TERM "$child" 2>/dev/null
  left=$stop_s
  while alive && [ "$left" -gt 0 ]; do
    nap 1
    left=$((left - 1))
  done
  alive && kill -KILL "$child" 2>/dev/null
  reap
}

on_stop() {
  stopping=1
  alive && kill -TERM "$child" 2>/dev/null
}
trap on_stop TERM INT HUP

# An agent whose supervisor was killed would run beside ours.
end_orphan() {
  pid=$(line_of pid)
  case $pid in
    '' | *[!0-9]*) return ;;
  esac
  if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -e "$dir/run.json" -e "serve --config $config"; then
    say "ending an agent that its supervisor left behind"
    kill -KILL "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do nap 1; done
  fi
}

condemn() {
  write "bad/$1" "$2"
  say "version $1 is given up: $2"
}

# A version that is being tried has to say that it is healthy in time; otherwise the good one is taken again.
try_next() {
  version=$(line_of next)
  folder=$(folder_of "$version") || folder=
  if [ -z "$folder" ] || [ -e "$state/bad/$version" ]; then
    rm -f "$state/next"
    return
  fi
  mv -f "$state/next" "$state/trial" && sync
  say "trying version $version"
  start "$folder"
  left=$trial_s
  while alive && [ ! -e "$state/healthy" ] && [ "$left" -gt 0 ] && [ -z "$stopping" ]; do
    nap 1
    left=$((left - 1))
  done
  if [ -n "$stopping" ]; then
    # Told to stop in the middle: the trial begins anew with the next start.
    stop_child
    mv -f "$state/trial" "$state/next"
    return
  fi
  if alive && [ "$(line_of healthy)" = "$child" ]; then
    write previous "$(line_of current)"
    write current "$version"
    rm -f "$state/trial"
    say "version $version is well and stays"
    return
  fi
  if alive; then
    reason="it did not become healthy within $trial_s s"
    stop_child
  else
    reap
    reason="it ended with $code before it was healthy"
  fi
  condemn "$version" "$reason"
  rm -f "$state/trial"
}

# The current version does not last: the one before it, if there is one.
fall_back() {
  version=$(line_of current)
  [ -n "$version" ] || return
  condemn "$version" "it ended $failures times in a row within $steady_s s of its start"
  before=$(line_of previous)
  if [ -n "$before" ] && [ ! -e "$state/bad/$before" ]; then write current "$before"; else rm -f "$state/current"; fi
  failures=0
}

settle_trial() {
  version=$(line_of trial)
  [ -n "$version" ] || return
  [ "$version" = "$(line_of current)" ] || condemn "$version" "the supervisor or the machine ended during its trial"
  rm -f "$state/trial"
}

enter_group
end_orphan
settle_trial
while [ -z "$stopping" ]; do
  if [ -e "$state/next" ]; then try_next; fi
  [ -n "$stopping" ] && break
  [ -n "$child" ] || start "$(good_folder)"
  reap
  [ -n "$stopping" ] && break
  # EX_CONFIG (sysexits.h): only a person can help.
  [ "$code" -eq 78 ] && exit 78
  exits=$((exits + 1))
  write exits "$exits $code"
  if [ -e "$state/next" ]; then
    failures=0
    back_off_s=1
    continue
  fi
  if [ $(($(date +%s) - started_at)) -ge "$steady_s" ]; then
    failures=0
    back_off_s=1
  else
    failures=$((failures + 1))
  fi
  say "the agent ended with $code; it is started again in $back_off_s s"
  nap "$back_off_s"
  back_off_s=$((back_off_s * 2))
  [ "$back_off_s" -gt "$back_off_s_max" ] && back_off_s=$back_off_s_max
  [ "$failures" -ge "$failures_max" ] && fall_back
done
[ -n "$child" ] && stop_child
rm -f "$state/pid"
exit 0
