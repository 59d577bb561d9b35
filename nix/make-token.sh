# Makes the API's token, once: make-token.sh FILE. The server listens on an address that other hosts reach, and nobody named a file.
set -eu
[ ! -s "$1" ] || exit 0
umask 077
new=$1.new
od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$new"
[ "$(wc -c <"$new")" = 64 ] || { echo "no random bytes came from /dev/urandom" >&2; exit 1; }
mv "$new" "$1"
echo "made a token for the API, which only this service's user can read: $1 (fireactions --url URL --token-file $1)"
