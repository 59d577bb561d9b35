# says: services.registry-cache.zot.mirrors."ghcr.io".credentialsFile / would be in the Nix store
{ services.fireactions = { enable = true; pools = [{ name = "default"; }]; registryCache = { enable = true; zot.mirrors."ghcr.io".credentialsFile = ./registry-login-in-store.nix; }; }; }
