# says: services.fireteact.gitea.apiTokenFile / would be in the Nix store
{ pkgs, ... }: { services.fireteact = { enable = true; gitea = { instanceUrl = "https://git.example.com"; runnerOwner = "o"; apiTokenFile = pkgs.writeText "token" "x"; }; pools = [{ name = "default"; }]; }; }
