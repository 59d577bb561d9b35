#!/bin/sh
# deploy.sh [OPTIONS] IP | list | unregister NAME: `fireactions host` under the name and the arguments of before.
cd "$(dirname "$0")/.." || exit; case "${1:-}" in list | unregister) ;; *) set -- deploy "$@" ;; esac
if command -v fireactions >/dev/null; then exec fireactions host "$@"; fi
exec nix --extra-experimental-features 'nix-command flakes' run .#fireactions -- host "$@"
