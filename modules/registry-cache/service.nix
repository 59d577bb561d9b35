# Zot and Squid, and the redirect of guests' web traffic.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.registry-cache;
  base = config.services.microvm-base;
  cache = import ../../nix/cache.nix;
  packages = import ../../pkgs { inherit pkgs; };
  networks = cfg.networks ++ lib.optionals cfg.useMicrovmBaseBridges
    (lib.mapAttrsToList (name: bridge: { inherit name; inherit (bridge) bridgeName subnet; }) base.bridges);
  state = "/var/lib/registry-cache";
  made = cfg.squid.ca.certFile == null;
  bumps = cache.bumps cfg;
  squidConf = pkgs.writeText "squid.conf" (cache.squid {
    inherit cfg networks state;
    squid = pkgs.squid;
    certificate = if made then "${state}/ca.pem" else toString cfg.squid.ca.certFile;
    key = if made then "${state}/ca.key" else "/run/credentials/registry-cache-squid.service/ca.key";
  });
  redirect = cache.redirect { inherit cfg networks; };
  credentials = lib.filter (file: file != null) (lib.mapAttrsToList (_: mirror: mirror.credentialsFile) cfg.zot.mirrors);
  oldCredentials = lib.filter (name: lib.any (value: value != null) (lib.attrValues cfg.zot.mirrors.${name}.credentials)) (lib.attrNames cfg.zot.mirrors);
  bridges = lib.unique (map (network: network.bridgeName) networks);
in
{
  config = lib.mkIf cfg.enable {
    assertions = (import ../../nix/mistakes.nix { }).cache { inherit cfg networks; };
    warnings = map (name: "services.registry-cache.zot.mirrors.\"${name}\".credentials has no effect; use credentialsFile") oldCredentials
      ++ lib.optional (cfg.debug.sshKeyFile != null) "services.registry-cache.debug.sshKeyFile has no effect: `fireactions login MACHINE` opens a shell without SSH";

    users.users = lib.optionalAttrs cfg.zot.enable { zot = { isSystemUser = true; group = "zot"; }; }
      // lib.optionalAttrs cfg.squid.enable { squid = { isSystemUser = true; group = "squid"; }; };
    users.groups = lib.optionalAttrs cfg.zot.enable { zot = { }; } // lib.optionalAttrs cfg.squid.enable { squid = { }; };

    systemd.tmpfiles.rules = [ "d ${toString cfg.storage.cacheDir} 0755 root root -" ]
      ++ lib.optional cfg.zot.enable "d ${toString cfg.storage.cacheDir}/zot 0750 zot zot -"
      ++ lib.optionals cfg.squid.enable ([ "d ${toString cfg.storage.cacheDir}/squid 0750 squid squid -" ]
      ++ map (log: "d ${dirOf (toString log)} 0750 squid squid -") (lib.unique [ cfg.logging.accessLog cfg.logging.cacheLog ]));

    systemd.services.zot = lib.mkIf cfg.zot.enable {
      description = "registry cache: images";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      serviceConfig = {
        ExecStart = "${packages.zot}/bin/zot serve ${pkgs.writeText "zot.json" (builtins.toJSON (cache.zot cfg))}";
        User = "zot";
        Group = "zot";
        Restart = "on-failure";
        RestartSec = "5s";
        ReadWritePaths = [ "${toString cfg.storage.cacheDir}/zot" ];
        LoadCredential = lib.mkIf (credentials != [ ]) [ "registries:${toString (builtins.head credentials)}" ];
        CapabilityBoundingSet = "";
        NoNewPrivileges = true;
        PrivateDevices = true;
        PrivateTmp = true;
        ProtectHome = true;
        ProtectSystem = "strict";
        ProtectKernelTunables = true;
        ProtectKernelModules = true;
        ProtectControlGroups = true;
        RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" "AF_NETLINK" ];
        SystemCallArchitectures = "native";
      };
    };

    systemd.services.registry-cache-squid = lib.mkIf cfg.squid.enable {
      description = "registry cache: the web";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      # Squid listens at the bridges' addresses; until the servers have made the bridges, it is started again.
      after = [ "network-online.target" "fireactions.service" "fireteact.service" ];
      path = [ pkgs.openssl pkgs.coreutils ];
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = {
        Type = "simple";
        RuntimeDirectory = "registry-cache";
        StateDirectory = "registry-cache";
        ExecStartPre = lib.optional (bumps && made) "${pkgs.runtimeShell} ${../../nix/make-authority.sh} ${state} ${toString cfg.squid.ca.validDays}"
          ++ lib.optional bumps "${pkgs.runtimeShell} -c 'test -d ${state}/ssl_db || ${pkgs.squid}/libexec/security_file_certgen -c -s ${state}/ssl_db -M 16MB; chown -R squid:squid ${state}'"
          ++ [ "${pkgs.runtimeShell} -c 'chown squid:squid /run/registry-cache'" "${pkgs.squid}/bin/squid -N -z -f ${squidConf}" ];
        ExecStart = "${pkgs.squid}/bin/squid -N -f ${squidConf}";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        LoadCredential = lib.mkIf (bumps && !made) [ "ca.key:${toString cfg.squid.ca.keyFile}" ];
        Restart = "on-failure";
        RestartSec = "5s";
        ReadWritePaths = [ "${toString cfg.storage.cacheDir}/squid" ] ++ lib.unique (map (log: dirOf (toString log)) [ cfg.logging.accessLog cfg.logging.cacheLog ]);
        CapabilityBoundingSet = "CAP_SETUID CAP_SETGID CAP_NET_ADMIN CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER";
        NoNewPrivileges = true;
        PrivateTmp = true;
        ProtectHome = true;
        ProtectSystem = "strict";
        ProtectKernelTunables = true;
        ProtectKernelModules = true;
        ProtectControlGroups = true;
      };
    };

    services.logrotate.settings.registry-cache = lib.mkIf cfg.squid.enable {
      files = map toString [ cfg.logging.accessLog cfg.logging.cacheLog ];
      frequency = "daily";
      rotate = 7;
      missingok = true;
      notifempty = true;
      copytruncate = true;
    };

    networking.firewall.interfaces = lib.genAttrs bridges (_: { allowedTCPPorts = cfg.guestPorts; });

    networking.nftables.tables = lib.mkIf (cfg.squid.enable && config.networking.nftables.enable) {
      registry_cache_nat = { family = "ip"; content = redirect; };
    };
    systemd.services.registry-cache-redirect = lib.mkIf (cfg.squid.enable && !config.networking.nftables.enable) {
      description = "registry cache: guests' web traffic goes to Squid";
      wantedBy = [ "multi-user.target" ];
      after = [ "firewall.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${pkgs.nftables}/bin/nft -f ${pkgs.writeText "registry-cache.nft" ''
          table ip registry_cache_nat
          delete table ip registry_cache_nat
          table ip registry_cache_nat {
          ${redirect}
          }
        ''}";
        ExecStop = "${pkgs.nftables}/bin/nft delete table ip registry_cache_nat";
      };
    };
  };
}
