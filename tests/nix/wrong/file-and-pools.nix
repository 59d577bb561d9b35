# says: services.fireactions.configFile / the file replaces all options, so services.fireactions.pools / leave one of the two out
{ services.fireactions = { enable = true; configFile = "/etc/my.yaml"; pools = [{ name = "default"; }]; }; }
