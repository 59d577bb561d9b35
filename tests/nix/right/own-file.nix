{ services.fireactions = { enable = true; configFile = "/etc/mine.yaml"; }; }
