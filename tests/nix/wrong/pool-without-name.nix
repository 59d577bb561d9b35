# says: services.fireactions.pools (in / pool-without-name.nix): the 1. pool has no name; give it one: name = "default";
{ services.fireactions = { enable = true; pools = [{ runner.labels = [ "linux" ]; }]; }; }
