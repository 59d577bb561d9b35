# What tests ask of the files in nix/ without nixpkgs.
rec {
  instances = import ../../nix/instances.nix;
  mistakes = import ../../nix/mistakes.nix { };
  sizes = import ../../nix/sizes.nix;
  networks = import ../../nix/networks.nix;
  util = import ../../nix/util.nix;
  registry = import ../../nix/registry.nix;
  tags = import ../../nix/tags.nix { directory = ../../profiles; };
  page = file: (let value = import (./page + "/${file}.nix"); in if builtins.isFunction value then value { lib.mkDefault = value: value; } else value).services;

  cfg = name: given: import ./cfg.nix { instance = instances.${name}; inherit given; };

  paths = { kernel = "/k/vmlinux"; kernelModules = null; agent = "/a"; firecracker = "/f/firecracker"; jailer = "/f/jailer"; qemu = "/q"; };
  config = name: given: import ../../nix/engine.nix { instance = instances.${name}; cfg = cfg name given; inherit paths; };
  withHost = name: given: host: import ../../nix/engine.nix { instance = instances.${name}; cfg = cfg name given; inherit paths; host = { cache = null; dns = null; kernelArgs = ""; } // host; };
  failing = name: given: mistakes.failing (mistakes.service { instance = instances.${name}; cfg = cfg name given; });
  failingBoth = one: other: mistakes.failing (mistakes.together
    { instance = instances.fireactions; cfg = cfg "fireactions" one; }
    { instance = instances.fireteact; cfg = cfg "fireteact" other; });

  # The unit as the module has it, with `program` and `config`.
  unit = { driver, program, config, name ? "fireactions" }:
    let
      unit = import ../../nix/unit.nix { inherit name program config; };
      hardening = import ../../nix/hardening.nix { inherit driver; home = false; modules = false; };
      directives = unit.service // hardening // { SystemCallFilter = unit.service.SystemCallFilter ++ hardening.SystemCallFilter; };
      lines = builtins.concatMap (key: map (value: "${key}=${value}") directives.${key}) (builtins.attrNames directives);
    in
    builtins.concatStringsSep "\n" ([ "[Unit]" "Description=${unit.description}" "Wants=${toString unit.wants}" "After=${toString unit.after}" "[Service]" ]
      ++ lines ++ [ "[Install]" "WantedBy=${toString unit.wantedBy}" "" ]);

  cache = import ../../nix/cache.nix;
  cacheCfg = util.merge {
    zot = { enable = true; port = 5000; mirrors = { "docker.io" = mirror "docker.io"; "ghcr.io" = mirror "ghcr.io"; }; };
    squid = { enable = true; memoryCache = "256MB"; ca = { certFile = null; keyFile = null; validDays = 3650; }; sslBump = { mode = "selective"; domains = [ ]; }; };
    storage = { cacheDir = "/var/cache/registry-cache"; maxSize = "50GB"; };
    logging = { accessLog = "/var/log/registry-cache/squid-access.log"; cacheLog = "/var/log/registry-cache/squid-cache.log"; };
    dns.upstreamServers = [ "8.8.8.8" ];
  };
  failingCache = given: mistakes.failing (mistakes.cache { cfg = cacheCfg given; networks = cacheNetworks; });
  queue = import ../../nix/queue.nix;
  queueCfg = util.merge {
    cluster = "ci";
    hosts = [ "ci-1" "ci-2" ];
    name = "nats-1";
    nodes = [ ];
    port = 4222;
    routePort = 6222;
    tls = { certFile = "/tls/server.pem"; keyFile = "/tls/server.key"; caFile = "/tls/ca.pem"; };
    dataDir = "/var/lib/nats";
    maxStorage = "1G";
    settings = { };
  };
  failingQueue = given: mistakes.failing (mistakes.queue (queueCfg given));
  mirror = name: { url = cache.urlOf name; prefix = "**"; onDemand = true; credentialsFile = null; };
  cacheNetworks = [
    { name = "fireactions"; bridgeName = "fireactions0"; subnet = "10.200.0.0/24"; }
    { name = "fireteact"; bridgeName = "fireteact0"; subnet = "10.201.0.0/24"; }
  ];
}
