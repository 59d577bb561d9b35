#!/bin/sh
# What a deployment needs of this machine, and of the host that is deployed to. Changes nothing and fetches nothing.
#   check-prerequisites.sh [--local]     this machine, and the flake that the script is in
#   check-prerequisites.sh --remote IP   a host, by SSH as root (USER@IP: as somebody else)
#   check-prerequisites.sh --all IP      both
#   --facts                              what was found, as key=value, instead of a table with a fix for each problem
# Exits with 1 if something is missing that a deployment needs.
#
# `fireactions doctor --remote IP` and `fireactions host deploy` send this script to the host, and judge by its rules too.
set -u
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH

# where|check|fact|fine if|usable if|what was found (% is the fact)|fix
# A test is: `set`, `in WORD…`, `min NUMBER`, `any`. What is not even usable is an error.
# Memory: 2 GiB and 1 GiB, less what firmware and kernel keep for themselves.
rules() {
  cat <<'RULES'
local|nix|nix|set||%|install Nix: https://nixos.org/download
local|flakes|flakes|in yes||flakes: %|add 'experimental-features = nix-command flakes' to ~/.config/nix/nix.conf
local|git|git|set||%|install git
local|ssh|ssh|set||%|install the OpenSSH client
local|ssh-keygen|ssh_keygen|set||%|install the OpenSSH client
local|sops|sops|set|any|%|`nix develop` has it; needed to edit secrets
local|age|age|set|any|%|`nix develop` has it; needed to make your own key
local|ssh-to-age|ssh_to_age|set|any|%|`nix develop` has it; `fireactions host show NAME --age-key` does the same for hosts
local|colmena|colmena|set|any|%|`nix develop` has it; needed to apply changes to hosts
local|fireactions|fireactions|set|any|%|`nix profile install .#fireactions`; deploy.sh builds it otherwise
local|age-key|age_key|in valid|in none|age key: %|`age-keygen -o ~/.config/sops/age/keys.txt`, and put its public key into secrets/.sops.yaml
local|flake|flake|in yes||flake.nix: %|run the script that is in your flake
local|deploy|deploy|in yes||deploy/deploy.sh: %|take deploy/deploy.sh from the project, and make it executable
local|sops-file|sops_file|in yes|any|secrets/.sops.yaml: %|write secrets/.sops.yaml with your age key and the hosts' (docs/deployment.md)
local|secrets|secrets|in encrypted|in none|secrets/secrets.yaml: %|`cd secrets && sops secrets.yaml` makes it; `sops -e -i secrets.yaml` there encrypts one that is not
remote|ssh|ssh|in yes||SSH: %|let your key log in (`ssh-copy-id root@HOST`), and see that the address and port are right
remote|login|root|in yes sudo||root: %|log in as root, or as a user who may run sudo without a password
remote|arch|arch|in x86_64 aarch64||%|use a host with an x86_64 or aarch64 processor
remote|memory|mem_mib|min 1800|min 900|% MiB|use a host with 2 GiB of memory or more
remote|disk|disk_gib|min 20|min 10|the largest disk has % GiB|use a host with a disk of 20 GiB or more
remote|virtualization|virt|in vmx svm arm|any|virtualization: %|turn virtualization on in the firmware, or take a host that has it: without, jobs run under emulation, which is slow
remote|kvm|kvm|in yes|any|/dev/kvm: %|`modprobe kvm_intel` or `kvm_amd`; it may also be there once NixOS runs
remote|kexec|kexec|in yes|any|kexec: %|boot the NixOS installer on the host, and deploy with --no-kexec
remote|os|os|set|any|%|nothing to do: the system is replaced
RULES
}

# fact KEY [VALUE]: one line, whatever the value has in it.
fact() {
  printf '%s=%s\n' "$1" "$(printf '%s' "${2-}" | tr -d '\000-\037\177' | cut -c 1-200)"
}

# The first line of what a program says of its version; nothing when it is not there.
version() {
  command -v "$1" >/dev/null 2>&1 || return 0
  said=$("$1" "${2:---version}" 2>&1 </dev/null | head -n 1)
  printf '%s\n' "${said:-installed}"
}

yes_if() {
  if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi
}

local_facts() {
  top=$(cd "$(dirname "$0")/.." && pwd)
  fact nix "$(version nix)"
  # Help is given where flakes are off, too. Nothing is fetched by this.
  fact flakes "$(yes_if nix eval --impure --expr 'builtins.isFunction builtins.getFlake')"
  fact git "$(version git)"
  fact ssh "$(version ssh -V)"
  fact ssh_keygen "$(command -v ssh-keygen)"
  fact sops "$(version sops)"
  fact age "$(version age)"
  fact ssh_to_age "$(command -v ssh-to-age)"
  fact colmena "$(version colmena)"
  fact fireactions "$(version fireactions)"
  keys=${SOPS_AGE_KEY_FILE:-${XDG_CONFIG_HOME:-${HOME:-}/.config}/sops/age/keys.txt}
  if [ ! -f "$keys" ]; then fact age_key none
  elif grep -q '^AGE-SECRET-KEY-' "$keys"; then fact age_key valid
  else fact age_key "$keys has no key in it"; fi
  fact flake "$(yes_if test -f "$top/flake.nix")"
  fact deploy "$(yes_if test -x "$top/deploy/deploy.sh")"
  fact sops_file "$(yes_if test -f "$top/secrets/.sops.yaml")"
  if [ ! -f "$top/secrets/secrets.yaml" ]; then fact secrets none
  elif grep -q 'ENC\[AES256_GCM' "$top/secrets/secrets.yaml"; then fact secrets encrypted
  else fact secrets 'not encrypted'; fi
}

# Of the machine that this runs on, as a host to deploy to.
host_facts() {
  fact host "$(uname -n)"
  fact arch "$(uname -m)"
  fact kernel "$(uname -r)"
  fact os "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | tr -d "\"'")"
  fact boot_id "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
  fact vendor "$(cat /sys/class/dmi/id/sys_vendor 2>/dev/null)"
  if [ "$(id -u)" = 0 ]; then fact root yes
  elif sudo -n true >/dev/null 2>&1; then fact root sudo
  else fact root no; fi
  case $(uname -m) in
    aarch64) fact virt arm ;;
    *) fact virt "$(grep -owm 1 -e vmx -e svm /proc/cpuinfo 2>/dev/null | head -n 1)" ;;
  esac
  fact kvm "$(yes_if test -e /dev/kvm)"
  case $(cat /proc/sys/kernel/kexec_load_disabled 2>/dev/null) in
    0) fact kexec yes ;;
    1) fact kexec 'turned off' ;;
    *) fact kexec no ;;
  esac
  fact mem_mib "$(awk '/^MemTotal:/ { printf "%d", $2 / 1024 }' /proc/meminfo 2>/dev/null)"
  disks='' largest=0
  for disk in /sys/block/*; do
    name=${disk##*/}
    # What nothing can be installed on.
    case $name in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | '*') continue ;; esac
    [ "$(cat "$disk/removable" 2>/dev/null)" != 1 ] || continue
    gib=$(($(cat "$disk/size" 2>/dev/null || echo 0) / 2097152))
    [ "$gib" -gt 0 ] || continue
    disks=$disks${disks:+,}$name:$gib
    [ "$gib" -le "$largest" ] || largest=$gib
  done
  fact disks "$disks"
  fact disk_gib "$largest"
  # Whoever reads this by SSH knows that nothing was cut off.
  fact end 1
}

remote_facts() {
  case $1 in *@*) at=$1 ;; *) at=root@$1 ;; esac
  if said=$(ssh -T -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=accept-new -- "$at" \
    sh -s -- --facts --here <"$0" 2>&1) && printf '%s\n' "$said" | grep -q '^end=1$'; then
    fact ssh yes
    printf '%s\n' "$said" | grep '^[a-z_]*='
  else
    fact ssh "$(printf '%s\n' "$said" | tail -n 1)"
  fi
}

# A table of the facts on standard input. Exit code 1: there is an error.
judge() {
  { rules | sed 's/^/R|/' && sed 's/^/F|/'; } | awk -v where="$1" '
    function passes(test, value,   words, n, i) {
      n = split(test, words, " ")
      if (words[1] == "any") return 1
      if (words[1] == "set") return value != ""
      if (words[1] == "min") return value ~ /^[0-9]+$/ && value + 0 >= words[2] + 0
      for (i = 2; i <= n; i++) if (value == words[i]) return 1
      return 0
    }
    /^R\|/ { rule[++count] = substr($0, 3) }
    /^F\|/ { at = index($0, "="); if (at) fact[substr($0, 3, at - 3)] = substr($0, at + 1) }
    END {
      format = "%-15s %-8s %s\n"
      printf format, "CHECK", "RESULT", "FOUND"
      for (i = 1; i <= count; i++) {
        split(rule[i], part, "|")
        if (part[1] != where) continue
        value = fact[part[3]]
        result = passes(part[4], value) ? "ok" : passes(part[5], value) ? "warning" : "error"
        if (value == "") value = "not found"
        at = index(part[6], "%")
        printf format, part[2], result, substr(part[6], 1, at - 1) value substr(part[6], at + 1)
        if (result == "ok") continue
        printf format, "", "", "-> " part[7]
        if (result == "warning") { warnings++; continue }
        errors++
        # Nothing else is known of a host that does not answer.
        if (part[2] == "ssh" && where == "remote") break
      }
      printf "%d errors, %d warnings\n", errors, warnings
      exit errors > 0
    }'
}

usage() {
  sed -n '2,7s/^# \{0,1\}//p' "$0"
}

what=local ip='' facts=no
while [ $# -gt 0 ]; do
  case $1 in
    --local) what=local ;;
    --here) what=here ;;
    --remote | --all)
      what=${1#--} ip=${2:-}
      case $ip in '' | -*) echo "check-prerequisites: $1 needs an address" >&2; exit 2 ;; esac
      shift
      ;;
    --facts) facts=yes ;;
    # The facts are on standard input.
    --judge) judge "${2:-local}"; exit ;;
    -h | --help) usage; exit ;;
    *) echo "check-prerequisites: '$1' is not known here" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

# section WHERE COMMAND…: the facts that it prints, or what the rules say about them.
section() {
  where=$1
  shift
  if [ "$facts" = yes ]; then "$@"; return; fi
  "$@" | judge "$where"
}

code=0
case $what in
  here) host_facts ;;
  local) section local local_facts || code=1 ;;
  remote) section remote remote_facts "$ip" || code=1 ;;
  all)
    section local local_facts || code=1
    [ "$facts" = yes ] || echo
    section remote remote_facts "$ip" || code=1
    ;;
esac
exit "$code"
