# The service: the packaged unit's settings, with this system's programs, secrets and users.
{ instance }:
{ config, lib, options, pkgs, ... }:
let
  cfg = config.services.${instance.name};
  networks = import ../../nix/networks.nix;
  mistakes = import ../../nix/mistakes.nix { };
  instances = import ../../nix/instances.nix;
  secrets = import ../../nix/secrets.nix { inherit instance cfg; };
  places = import ../../nix/places.nix { inherit instance cfg; };
  own = cfg.configFile != null;
  root = cfg.user == "root";
  elsewhere = places.dataDir != "/var/lib/${instance.name}";
  # What the server writes to, and systemd does not make for it.
  directories = lib.optional elsewhere places.dataDir ++ places.beside;
  # Others than the server reach the socket in it.
  open = lib.optional (places.socketDirectory != null) places.socketDirectory;

  values = lib.optionals (!own) secrets.values;
  template = "/etc/${instance.name}/config.yaml";
  # A fixed place either way, so that a reload finds what the new system has.
  file = if values == [ ] then template else "/run/${instance.name}/config.yaml";
  unit = import ../../nix/unit.nix {
    inherit (instance) name;
    program = "${cfg.package}/bin/fireactions";
    config = file;
  };
  hardening = import ../../nix/hardening.nix {
    inherit (cfg) driver;
    home = own || cfg.settings.images.docker_config or null != null;
    modules = own || cfg.settings.kernel.modules or null != null
      || builtins.any (pool: pool.settings.firecracker.kernel_modules_path or null != null) cfg.pools;
    jailer = root && cfg.settings.vmm.jailer or null != false;
  };
  hardened = config.services.${instance.name}.security.hardening.systemdHardening.enable;

  # What the server starts. `fireactions doctor` looks for them, too, in an operator's shell.
  tools = [ pkgs.coreutils pkgs.iproute2 pkgs.kmod pkgs.e2fsprogs pkgs.squashfs-tools-ng pkgs.zstd pkgs.util-linux ];

  script = name: arguments: "${pkgs.runtimeShell} ${../../nix + "/${name}"} ${arguments}";
  token = places.dataDir + "/api-token";
  makesToken = !own && (cfg.renderedConfig.api_token_file or null) == token;
  fillIn = script "fill-in.sh" "${template} ${file} ${toString (map (entry: entry.name) values)}";
  before = lib.optional makesToken (script "make-token.sh" token) ++ lib.optional (values != [ ]) fillIn;

  directives = unit.service // lib.optionalAttrs hardened (hardening // {
    SystemCallFilter = unit.service.SystemCallFilter ++ hardening.SystemCallFilter;
  }) // {
    ExecStartPre = before ++ unit.service.ExecStartPre;
    ExecReload = lib.optional (values != [ ]) fillIn ++ map (line: if lib.hasPrefix "kill " line then "${pkgs.coreutils}/bin/${line}" else line) unit.service.ExecReload;
    LoadCredential = map (entry: "${entry.name}:${toString entry.file}")
      (if own then builtins.filter (entry: lib.hasPrefix "credentials." entry.path) secrets.secret else secrets.all);
    User = [ cfg.user ];
    Group = [ cfg.group ];
  } // lib.optionalAttrs (!root) { AmbientCapabilities = unit.service.CapabilityBoundingSet; }
  // lib.optionalAttrs elsewhere { StateDirectory = [ ]; }
  // lib.optionalAttrs (directories ++ open != [ ]) {
    ReadWritePaths = lib.optionals hardened hardening.ReadWritePaths ++ directories ++ open;
  };
  # A directive with one line is a text, as NixOS's options want it.
  plain = all: lib.mapAttrs (_: lines: if builtins.length lines == 1 then builtins.head lines else lines)
    (lib.filterAttrs (_: lines: lines != [ ]) all);

  ports = lib.unique (builtins.filter (port: port != null) (map networks.port (builtins.filter networks.isOpen
    (lib.optional (places.bindAddress != null) places.bindAddress ++ lib.optional places.metricsEnable places.metricsAddress))));

  whereOf = name: path:
    let
      option = lib.attrByPath (lib.splitString "." path) { } options.services.${name};
      # Somebody has given it a value.
      given = option.highestPrio or 1500 < 1500;
    in lib.optionalString given " (in ${lib.concatStringsSep ", " (map toString option.files)})";
  where = whereOf instance.name;
  other = builtins.head (builtins.filter (other: other.name != instance.name) [ instances.fireactions instances.fireteact ]);
  both = instance.name == "fireactions" && config.services ? ${other.name} && config.services.${other.name}.enable;
  set = path: lib.attrByPath path null cfg != null;
  warn = condition: text: lib.optional condition "services.${instance.name}.${text}";
in
{
  config = lib.mkIf cfg.enable {
    assertions = mistakes.service { inherit instance cfg where; }
      ++ lib.optionals both (mistakes.together { inherit instance cfg where; } { instance = other; cfg = config.services.${other.name}; where = whereOf other.name; });

    warnings = warn (set [ "networking" "externalInterface" ]) "networking.externalInterface has no effect: packets leave by the host's routes"
      ++ warn (cfg.debug.sshKeyFile != null) "debug.sshKeyFile has no effect: `fireactions login MACHINE` opens a shell without SSH"
      ++ warn (cfg.basicAuth.users or { } != { }) "basicAuth.users has no effect: the API takes the bearer token of apiTokenFile; remove the passwords, they are in the Nix store"
      ++ warn (set [ "gitea" "apiToken" ]) "gitea.apiToken has no effect: it would be in the Nix store; use gitea.apiTokenFile"
      ++ warn (!root && cfg.driver == "firecracker") "user is not root, so Firecracker runs without its jailer (docs/security.md)"
      ++ builtins.concatMap
        (pool: warn (instance.forge == "github" && !own && pool.runner.organization == null && cfg.github.organization == null
          && !(pool.settings ? runner && (pool.settings.runner.repository or null != null || pool.settings.runner.enterprise or null != null || pool.settings.runner.organization or null != null)))
          "pools: '${toString pool.name}' has no organization, so it serves only jobs of this host's own queue; set runner.organization, or github.organization for all pools")
        cfg.pools;

    systemd.services.${instance.name} = {
      inherit (unit) wants wantedBy;
      inherit (unit) after;
      description = instance.description;
      path = tools;
      # A changed configuration is taken over by a handover: no job ends and no client is refused. A changed unit restarts the
      # server, which ends no job either.
      reloadTriggers = [ config.environment.etc."${instance.name}/config.yaml".source ];
      serviceConfig = plain directives;
    };
    systemd.sockets.${instance.name} = lib.mkIf cfg.socketActivation {
      description = "${instance.name}: API socket";
      wantedBy = unit.socketWantedBy;
      socketConfig = plain (unit.socket // { SocketGroup = [ cfg.group ]; });
    };

    environment.systemPackages = [ cfg.package ] ++ tools;
    # The command line of this host speaks to this server, and checks what this server reads: not the template.
    environment.variables = lib.mkIf (instance.name == "fireactions" || !(config.services.fireactions.enable or false)) {
      FIREACTIONS_SOCKET = lib.mkDefault places.apiSocket;
      FIREACTIONS_CONFIG = lib.mkDefault file;
    };

    users = lib.mkIf (!root) {
      users.${cfg.user} = { isSystemUser = true; inherit (cfg) group; extraGroups = [ "kvm" ]; home = places.dataDir; };
      groups = lib.mkIf (cfg.group != "root") { ${cfg.group} = { }; };
    };
    systemd.tmpfiles.rules = map (directory: "d ${directory} 0700 ${cfg.user} ${cfg.group} -") directories
      ++ map (directory: "d ${directory} 0755 ${cfg.user} ${cfg.group} -") open;

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall ports;

    services.microvm-base = {
      enable = true;
      bridges.${instance.name} = { bridgeName = places.bridge; inherit (places) subnet; };
      stateDirectories.${instance.name} = places.dataDir;
    };
  };
}
