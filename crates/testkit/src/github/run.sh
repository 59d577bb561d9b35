#!/bin/sh
# A stand-in for the runner's run.sh: takes one job from the fake GitHub that its credential names, and ends.
# Exit codes are the runner's own: 0 done, 1 not configured, 2 try again, 5 used before, 7 version deprecated.

jit=$ACTIONS_RUNNER_INPUT_JITCONFIG
[ "$1" != --jitconfig ] || jit=$2
unset ACTIONS_RUNNER_INPUT_JITCONFIG
if [ -z "$jit" ]; then
    echo "An error occurred: Not configured. Run config.(sh/cmd) to configure the runner." >&2
    exit 1
fi
config=$(printf %s "$jit" | base64 -d) || exit 1
unset jit
field() { printf %s "$config" | sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
url=$(field url) token=$(field token) name=$(field name) work=$(field work)
nonce=$(cat /proc/sys/kernel/random/uuid)
now() { date -u '+%Y-%m-%d %H:%M:%SZ'; }

# ask WHAT [FIELDS]: the answer to a request, tried for two minutes.
ask() {
    tries=0
    while [ $tries -lt 120 ]; do
        if wget -q -O - --post-data "token=$token&nonce=$nonce&$2" "$url/$1" 2>/dev/null >"$tmp/$1"; then
            cat "$tmp/$1"
            return 0
        fi
        tries=$((tries + 1))
        sleep 1
    done
    return 1
}

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
case $(ask online) in
    ok) ;;
    deprecated)
        echo "An error occurred: Runner version v2.300.0 is deprecated and cannot receive messages." >&2
        exit 7
        ;;
    used)
        echo "A session for this runner already exists." >&2
        exit 5
        ;;
    gone)
        echo "Failed to create a session. The runner registration has been deleted from the server, please re-configure." >&2
        exit 1
        ;;
    *)
        echo "$(now): Runner connect error." >&2
        exit 2
        ;;
esac
echo
printf '\342\210\232 Connected to GitHub\n\n'
echo "Current runner version: '2.330.0'"
echo "$(now): Listening for Jobs"

while :; do
    job=$(ask wait) || exit 2
    case $job in
        none) ;;
        gone)
            echo "Runner listener exit: the runner was deleted from the server." >&2
            exit 1
            ;;
        job=*) break ;;
        *) exit 2 ;;
    esac
done
of() { printf '%s\n' "$job" | sed -n "s/^$1=//p"; }
title=$(of name)
echo "$(now): Running job: $title"

case $work in
    /*) ;;
    *) work=$(cd "$(dirname "$0")" && pwd)/$work ;;
esac
repository=$(of repository)
GITHUB_WORKSPACE=$work/${repository#*/}/${repository#*/}
mkdir -p "$GITHUB_WORKSPACE" 2>/dev/null || GITHUB_WORKSPACE=$(mktemp -d)
GITHUB_RUN_ID=$(of run) GITHUB_REPOSITORY=$repository GITHUB_JOB=$title
GITHUB_WORKFLOW=$(of workflow) GITHUB_SERVER_URL=$(of server) RUNNER_NAME=$name
CI=true GITHUB_ACTIONS=true GITHUB_RUN_ATTEMPT=1 RUNNER_OS=Linux RUNNER_ARCH=X64
export CI GITHUB_ACTIONS GITHUB_JOB GITHUB_REPOSITORY GITHUB_RUN_ATTEMPT GITHUB_RUN_ID GITHUB_SERVER_URL
export GITHUB_WORKFLOW GITHUB_WORKSPACE RUNNER_ARCH RUNNER_NAME RUNNER_OS

result=Succeeded
: >"$tmp/log"
# hook FILE: what the runner's owner wants run around a job.
hook() {
    [ -z "$1" ] || (cd "$GITHUB_WORKSPACE" && exec sh "$1") >>"$tmp/log" 2>&1 || result=Failed
}
hook "$ACTIONS_RUNNER_HOOK_JOB_STARTED"
if [ $result = Succeeded ]; then
    ask script >"$tmp/job.sh" || exit 2
    (cd "$GITHUB_WORKSPACE" && exec setsid sh "$tmp/job.sh") >>"$tmp/log" 2>&1 &
    running=$!
    (
        while sleep 1; do
            case $(ask alive) in
                cancel | gone)
                    : >"$tmp/cancelled"
                    kill -TERM -$running
                    sleep 5
                    kill -KILL -$running
                    ;;
            esac
        done
    ) >/dev/null 2>&1 &
    watching=$!
    wait $running || result=Failed
    kill $watching 2>/dev/null
    [ ! -e "$tmp/cancelled" ] || result=Canceled
fi
hook "$ACTIONS_RUNNER_HOOK_JOB_COMPLETED"
wget -q -O /dev/null --post-file "$tmp/log" "$url/log?token=$token" 2>/dev/null
ask completed "result=$result" >/dev/null || exit 2
echo "$(now): Job $title completed with result: $result"
exit 0
