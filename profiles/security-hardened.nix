# What can be closed is. SMT stays on: without it half of the host's threads are gone; a host that wants it sets
# services.microvm-base.security.hardening.disableHyperthreading.
{ lib, ... }:
let network = { enable = true; rateLimitConnections = lib.mkDefault 100; }; in
{
  services.microvm-base.security = {
    enable = true;
    hardening.sysctls.enable = lib.mkDefault true;
    storage = {
      enable = true;
      encryption.enable = lib.mkDefault true;
      secureDelete = { enable = lib.mkDefault true; method = lib.mkDefault "discard"; };
      tmpfsSecrets.enable = lib.mkDefault true;
    };
  };
  services.fireactions.security.network = network;
  services.fireteact.security.network = network;
}
