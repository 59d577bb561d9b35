# says: services.fireactions.credentials.webhook: / would be in the Nix store
{ pkgs, ... }: { services.fireactions = { enable = true; credentials.webhook = pkgs.writeText "s" "x"; pools = [{ name = "default"; }]; }; }
