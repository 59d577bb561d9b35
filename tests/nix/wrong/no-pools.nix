# says: services.fireactions.pools: there is no pool, so nothing would run; add one
{ services.fireactions.enable = true; }
