# says: services.fireactions.github.appPrivateKeyFile / would be in the Nix store, which everybody on the host can read
{ services.fireactions = { enable = true; github = { appId = 1; appPrivateKeyFile = ./secret-in-store.nix; }; pools = [{ name = "default"; runner.organization = "o"; }]; }; }
