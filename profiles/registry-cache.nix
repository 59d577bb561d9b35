# Registries and the web are cached for the guests.
{ lib, ... }: {
  services.registry-cache = {
    enable = true;
    storage.maxSize = lib.mkDefault "50GB";
    squid.memoryCache = lib.mkDefault "256MB";
  };
}
