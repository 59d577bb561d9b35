# A cache of registries (Zot) and of the web (Squid) for guests.
{ config, lib, ... }:
let
  inherit (lib) mkOption mkEnableOption types;
  cache = import ../../nix/cache.nix;
  cfg = config.services.registry-cache;
in
{
  options.services.registry-cache = {
    enable = mkEnableOption "the cache of registries and of the web";
    useMicrovmBaseBridges = mkOption { type = types.bool; default = true; description = "Whether the services' bridges are served beside `networks`."; };
    networks = mkOption {
      default = [ ];
      description = "More networks that are served.";
      type = types.listOf (types.submodule {
        options = {
          name = mkOption { type = types.str; default = ""; description = "A name."; };
          bridgeName = mkOption { type = types.str; description = "The bridge."; };
          subnet = mkOption { type = types.str; description = "Its network; the first address is the host's."; };
        };
      });
    };
    zot = {
      enable = mkOption { type = types.bool; default = true; description = "Whether registries are cached."; };
      port = mkOption { type = types.port; default = 5000; description = "Zot's port."; };
      mirrors = mkOption {
        default = { "docker.io" = { }; "ghcr.io" = { }; "quay.io" = { }; "gcr.io" = { }; };
        example = { "docker.io" = { }; };
        description = "Registries that are cached, by the names that images have for them.";
        type = types.attrsOf (types.submodule ({ name, ... }: {
          options = {
            url = mkOption { type = types.str; default = cache.urlOf name; defaultText = lib.literalMD "`https://NAME`; Docker Hub's own for `docker.io`"; description = "Where the registry is."; };
            prefix = mkOption { type = types.str; default = "**"; description = "Which of its repositories."; };
            onDemand = mkOption { type = types.bool; default = true; description = "Whether an image is fetched when it is asked for."; };
            credentialsFile = mkOption { type = types.nullOr types.path; default = null; description = "File with `{\"HOST\": {\"username\": …, \"password\": …}}`, as Zot reads it. One file serves all mirrors."; };
            credentials = lib.genAttrs [ "username" "usernameFile" "password" "passwordFile" ]
              (_: mkOption { type = types.nullOr types.str; default = null; description = "Of nixos-fireactions, where it had no effect. Use `credentialsFile`."; });
          };
        }));
      };
    };
    squid = {
      enable = mkOption { type = types.bool; default = true; description = "Whether other web traffic goes through Squid."; };
      sslBump = {
        mode = mkOption { type = types.enum [ "selective" "all" "off" ]; default = "selective"; description = "Which https connections Squid opens to cache what is in them. It opens any only with `ca.certFile`, an authority that the pools' root images trust."; };
        domains = mkOption { type = types.listOf types.str; default = [ ]; example = [ ".githubusercontent.com" ]; description = "Those of the mode `selective`."; };
      };
      memoryCache = mkOption { type = types.strMatching "[0-9]+ ?[MG]i?B?"; default = "256MB"; description = "Memory for small objects."; };
      ca = {
        certFile = mkOption { type = types.nullOr types.path; default = null; description = "The certificate of an authority that the pools' root images trust; null: one is made, and no https connection is opened."; };
        keyFile = mkOption { type = types.nullOr types.path; default = null; description = "Its key."; };
        validDays = mkOption { type = types.ints.positive; default = 3650; description = "How long one that is made is valid. It is renewed 30 days before its end."; };
      };
    };
    storage = {
      cacheDir = mkOption { type = types.path; default = "/var/cache/registry-cache"; description = "Where both keep what they cached."; };
      maxSize = mkOption { type = types.strMatching "[0-9]+ ?[MGT]i?B?"; default = "50GB"; description = "Most that Squid keeps. Zot has no limit: it removes what no tag names."; };
    };
    logging = {
      accessLog = mkOption { type = types.path; default = "/var/log/registry-cache/squid-access.log"; description = "Squid's log of requests."; };
      cacheLog = mkOption { type = types.path; default = "/var/log/registry-cache/squid-cache.log"; description = "Squid's own log."; };
    };
    dns.upstreamServers = mkOption { type = types.listOf types.str; default = [ "8.8.8.8" "1.1.1.1" ]; description = "DNS servers that Squid asks."; };
    debug.sshKeyFile = mkOption { type = types.nullOr types.path; default = null; description = "Of nixos-fireactions. Without effect: `fireactions login MACHINE` opens a shell without SSH."; };
    guestPorts = mkOption { type = types.listOf types.port; readOnly = true; internal = true; default = cache.guestPorts cfg; description = "Ports that guests use."; };
  };
}
