{ services.fireactions = { enable = true; configFile = "/etc/mine.yaml"; credentials.mine = "/run/secrets/mine"; github.appPrivateKeyFile = "/run/secrets/key"; }; }
