# says: services.registry-cache: there is no network to serve
{ services.registry-cache.enable = true; }
