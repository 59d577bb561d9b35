# The registry cache's own files: Zot's and Squid's configuration, and the redirect of the guests' web traffic. What guests get for it
# (their registries' mirrors) is the server's part. The authority's certificate is in their root images, or Squid opens nothing.
#   cfg       the options of services.registry-cache
#   networks  `[{ name; bridgeName; subnet; }]`
let
  util = import ./util.nix;
  inherit (import ./networks.nix) gateway;
  join = builtins.concatStringsSep;
  lines = join "\n";
in
rec {
  # Where a registry is that is named as images name it.
  urls = {
    "docker.io" = "https://registry-1.docker.io";
  };
  urlOf = name: urls.${name} or "https://${name}";

  # What is not the internet's: the engine's list of what guests reach only where their pool allows it (crates/net), and the same of IPv6.
  inside = [ "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "169.254.0.0/16" "172.16.0.0/12" "192.0.0.0/24" "192.0.2.0/24" "192.31.196.0/24" "192.52.193.0/24" "192.88.99.0/24" "192.168.0.0/16" "198.18.0.0/15" "198.51.100.0/24" "203.0.113.0/24" "224.0.0.0/3" ];
  inside6 = [ "::/96" "64:ff9b::/96" "64:ff9b:1::/48" "2001::/32" "2002::/16" "fc00::/7" "fe80::/10" "ff00::/8" ];

  bumps = cfg: cfg.squid.enable && cfg.squid.sslBump.mode != "off";

  # Ports at the bridge's address that guests use.
  guestPorts = cfg: util.optional cfg.zot.enable cfg.zot.port
    ++ util.optional cfg.squid.enable 3128 ++ util.optional (bumps cfg) 3129;

  zot = cfg: {
    distSpecVersion = "1.1.1";
    storage = { rootDirectory = "${toString cfg.storage.cacheDir}/zot"; gc = true; gcDelay = "1h"; gcInterval = "24h"; };
    http = {
      address = "0.0.0.0";
      port = toString cfg.zot.port;
      compat = [ "docker2s2" ];
      # Without it, whoever reaches Zot may push, and a guest's image would be the next machine's.
      accessControl.repositories."**".anonymousPolicy = [ "read" ];
    };
    log.level = "info";
    extensions.sync = {
      enable = true;
    } // (if builtins.any (name: cfg.zot.mirrors.${name}.credentialsFile != null) (builtins.attrNames cfg.zot.mirrors)
    then { credentialsFile = "/run/credentials/zot.service/registries"; } else { }) // {
      registries = map
        (name:
          let mirror = cfg.zot.mirrors.${name}; in {
            urls = [ mirror.url ];
            inherit (mirror) onDemand;
            tlsVerify = true;
            # Images are named by their digests, also those of Docker's own form.
            preserveDigest = true;
            # Whoever pulls waits for these tries, also for what is cached.
            maxRetries = 2;
            retryDelay = "1s";
            # Docker Hub's images are named without the registry, so they are at the root.
            content = [ ({ inherit (mirror) prefix; } // (if name == "docker.io" then { } else { destination = "/${builtins.replaceStrings [ ":" ] [ "_" ] name}"; })) ];
          })
        # Docker Hub's names have no bound, so each other registry is asked before it.
        (builtins.filter (name: name != "docker.io") (builtins.attrNames cfg.zot.mirrors)
          ++ util.optional (cfg.zot.mirrors ? "docker.io") "docker.io");
    };
  };

  # The same as the server's `registry_cache`: it sets guests up for Zot.
  server = cfg: zot: if !cfg.zot.enable then null else {
    enabled = true;
    program = "zot";
    zot_binary = zot;
    inherit (cfg.zot) port;
    mirrors = builtins.mapAttrs (name: mirror: if mirror.url == urlOf name then { } else { inherit (mirror) url; }) cfg.zot.mirrors;
  };

  megabytes = text:
    let
      parts = builtins.match "([0-9]+) ?([KMGT]?)i?B?" text;
      unit = { "" = 1; K = 1; M = 1; G = 1024; T = 1048576; }.${builtins.elemAt parts 1};
    in if parts == null then null else builtins.fromJSON (builtins.head parts) * unit;

  squid = { cfg, networks, squid, state ? "/var/lib/registry-cache", certificate, key }:
    let
      subnets = join " " (map (network: network.subnet) networks);
      mode = cfg.squid.sslBump.mode;
      bumped = { selective = "bumped"; all = "all"; }.${mode};
      listen = network:
        let at = gateway network.subnet; in
        [ "http_port ${at}:3128 intercept" ]
        ++ util.optional (mode != "off")
          "https_port ${at}:3129 intercept ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=16MB tls-cert=${certificate} tls-key=${key}";
    in
    lines ([ "# Made from services.registry-cache." ]
      ++ builtins.concatMap listen networks
      # Squid wants one port that is not intercepted.
      ++ [ "http_port 127.0.0.1:3127" ]
      ++ (if mode == "off" then [ ] else [
        "sslcrtd_program ${squid}/libexec/security_file_certgen -s ${state}/ssl_db -M 16MB"
        "acl step1 at_step SslBump1"
      ] ++ util.optional (mode == "selective" && cfg.squid.sslBump.domains != [ ]) "acl bumped ssl::server_name ${join " " cfg.squid.sslBump.domains}"
      ++ [ "ssl_bump peek step1" ]
      ++ util.optional (mode == "all" || cfg.squid.sslBump.domains != [ ]) "ssl_bump bump ${bumped}"
      ++ [ "ssl_bump splice all" ])
      ++ [
        "acl localnet src ${subnets}"
        "acl SSL_ports port 443"
        "acl Safe_ports port 80 443"
        "http_access deny !Safe_ports"
        "http_access deny CONNECT !SSL_ports"
        # The host itself and its networks are not the guests' to ask for by this way.
        "acl inside dst ${join " " (inside ++ inside6)}"
        "http_access deny inside"
        "http_access allow localnet"
        "http_access deny all"
        "cache_dir aufs ${toString cfg.storage.cacheDir}/squid ${toString (megabytes cfg.storage.maxSize)} 16 256"
        "cache_mem ${toString (megabytes cfg.squid.memoryCache)} MB"
        "maximum_object_size 5 GB"
        "maximum_object_size_in_memory 10 MB"
        "cache_replacement_policy lru"
        "refresh_pattern . 60 50% 1440"
        "dns_nameservers ${join " " cfg.dns.upstreamServers}"
        "access_log stdio:${toString cfg.logging.accessLog}"
        "cache_log ${toString cfg.logging.cacheLog}"
        "pid_filename /run/registry-cache/squid.pid"
        "cache_effective_user squid"
        "coredump_dir ${state}"
        "shutdown_lifetime 5 seconds"
        ""
      ]);

  # Guests' web traffic goes to Squid. What is not the internet's does not: the server's own rules say which pool gets to a private network, the
  # metadata address is another's, and Squid is no way to the host, whose addresses may be public.
  redirect = { cfg, networks }:
    let
      of = network:
        let others = "iifname \"${network.bridgeName}\" ip daddr != { ${join ", " inside} } fib daddr type != local"; in
        [ "${others} tcp dport 80 redirect to :3128" ]
        ++ util.optional (bumps cfg) "${others} tcp dport 443 redirect to :3129";
    in
    lines ([ "chain prerouting {" "  type nat hook prerouting priority dstnat;" ]
      ++ map (rule: "  ${rule}") (builtins.concatMap of networks)
      ++ [ "}" "" ]);
}
