# Rules beside the server's own: how many new connections guests may make each second, and what an operator adds.
{ bridge, rate, burst ? 50, additional ? "" }:
let util = import ./util.nix; in
builtins.concatStringsSep "\n" ([
  "chain forward {"
  "  type filter hook forward priority -20;"
] ++ util.optional (rate > 0)
  "  iifname \"${bridge}\" ct state new limit rate over ${toString rate}/second burst ${toString burst} packets drop"
++ util.optional (additional != "") additional
++ [ "}" "" ])
