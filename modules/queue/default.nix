# services.fireactions-queue: the NATS through which the hosts of a cluster know of each other.
{ imports = [ ./options.nix ./service.nix ]; }
