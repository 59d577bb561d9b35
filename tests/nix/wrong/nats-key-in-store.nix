# says: services.fireactions-queue.tls.keyFile / would be in the Nix store
{ services.fireactions-queue = { enable = true; hosts = [ "ci-1" ]; tls = { certFile = "/c"; keyFile = ./nats-key-in-store.nix; caFile = "/a"; }; }; }
