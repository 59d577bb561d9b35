# What is wrong with the options of a service, and of the two together: `{ assertion; message; }`, each with the option and what to do.
{ kernels ? import ./kernels.nix }:
let
  util = import ./util.nix;
  networks = import ./networks.nix;
  join = builtins.concatStringsSep ", ";
  claim = assertion: message: { inherit assertion message; };
in
rec {
  # A secret's file, if there is one, is not in the store.
  outside = option: file: claim (file == null || !(util.inStore file))
    "${option}: ${toString file} would be in the Nix store, which everybody on the host can read; name a file that exists on the host alone, as a string: \"/run/secrets/…\"";

  # `where` adds to an option the files that define it.
  service = { instance, cfg, where ? (_: "") }:
    let
      o = path: "services.${instance.name}.${path}${where path}";
      secrets = import ./secrets.nix { inherit instance cfg; };
      places = import ./places.nix { inherit instance cfg; };
      said = name: o places.said.${name}.option;
      names = map (pool: pool.name) (builtins.filter (pool: pool.name != null) cfg.pools);
      indexes = builtins.genList (n: n) (builtins.length cfg.pools);
      own = cfg.configFile == null;
      github = instance.forge == "github";
      gitea = cfg.gitea or { };
      setting = name: let value = cfg.settings.${name} or null; in if name == "forges" && value == null then { } else value;
      pools = builtins.concatMap
        (n:
          let pool = builtins.elemAt cfg.pools n; at = if pool.name == null then "the ${toString (n + 1)}. pool" else "pool '${pool.name}'";
          in [
            (claim (pool.name != null) "${o "pools"}: the ${toString (n + 1)}. pool has no name; give it one: name = \"default\";")
            (claim (pool.minRunners <= pool.maxRunners)
              "${o "pools"}: ${at} has minRunners ${toString pool.minRunners}, more than its maxRunners ${toString pool.maxRunners}; lower the one or raise the other")
          ])
        indexes;
      files = map (entry: outside "${entry.option}${where entry.path}" entry.file) secrets.all;
    in
    pools ++ files ++ [
      (claim (util.twice names == [ ])
        "${o "pools"}: two pools are called ${join (map (name: "'${name}'") (util.twice names))}; give each pool a name of its own")
      (claim (own || cfg.pools == [ ])
        "${o "configFile"}: the file replaces all options, so ${o "pools"} would have no effect; leave one of the two out")
      (claim (!own || cfg.pools != [ ] || setting "pools" != null)
        "${o "pools"}: there is no pool, so nothing would run; add one, or name a file of your own with ${o "configFile"}")
      (claim (networks.parse places.subnet != null)
        "${said "subnet"}: '${places.subnet}' is no IPv4 network; write it as 10.200.0.0/24")
      (claim (places.bindAddress == null || !places.metricsEnable || networks.port places.bindAddress != networks.port places.metricsAddress)
        "${said "metricsAddress"}: the API listens at port ${toString (networks.port places.metricsAddress)} already (${said "bindAddress"}); choose another port")
      (claim (!(cfg.socketActivation) || places.apiSocket == "/run/${instance.name}/api.sock")
        "${said "apiSocket"}: with ${o "socketActivation"} systemd opens /run/${instance.name}/api.sock; leave one of the two out")
      (claim (!(builtins.elem places.socketDirectory [ "/" "/run" "/tmp" "/var" "/var/lib" "/var/run" "/var/tmp" ]))
        "${said "apiSocket"}: ${places.apiSocket} is in a directory that is not the server's alone; choose one below a directory of its own: /run/ci/api.sock")
      (claim (cfg.cluster.name != null || cfg.cluster == unnamed cfg.cluster)
        "${o "cluster.name"}: the cluster of the other options of ${o "cluster"} has no name; give it the one that all of its hosts have")
      (claim (cfg.cluster.name == null || cfg.cluster.nats.urls != [ ])
        "${o "cluster.nats.urls"}: nothing says where the cluster's NATS is; write its servers: [ \"tls://nats.example.com:4222\" ]")
    ] ++ (if !own then [ ]
    else if github then [
      (claim ((cfg.github.appId == null && cfg.github.appIdFile == null) || cfg.github.appPrivateKeyFile != null)
        "${o "github.appPrivateKeyFile"}: a GitHub App needs its private key; name the file with it: \"/run/secrets/github-app-key\"")
      (claim (cfg.github.appId != null || cfg.github.appIdFile != null || cfg.github.tokenFile != null || setting "github" != null || setting "forges" != { }
        || builtins.all (pool: pool.runner.organization == null && cfg.github.organization == null) cfg.pools)
        "${o "github"}: pools have an organization, but nothing says how GitHub is asked; set github.appIdFile and github.appPrivateKeyFile")
    ] else [
      (claim (gitea.instanceUrl != null || gitea.instanceUrlFile != null)
        "${o "gitea.instanceUrl"}: nothing says where the Gitea is; set instanceUrl or instanceUrlFile")
      (claim (gitea.apiTokenFile != null || gitea.runnerTokenFile != null)
        "${o "gitea.apiTokenFile"}: nothing lets the server register runners; name a file with an access token here, or one with a registration token in gitea.runnerTokenFile")
      (claim (gitea.apiTokenFile == null || gitea.runnerTokenFile == null)
        "${o "gitea.runnerTokenFile"}: there is gitea.apiTokenFile too; leave one of the two out")
      (claim (builtins.elem gitea.runnerScope [ "instance" "user" ] || gitea.runnerOwner != null || gitea.runnerOwnerFile != null)
        "${o "gitea.runnerOwner"}: runners of the scope '${gitea.runnerScope}' need an owner; set runnerOwner or runnerOwnerFile, or runnerScope = \"instance\"")
      (claim (gitea.runnerScope != "repo" || gitea.runnerRepo != null || gitea.runnerRepoFile != null)
        "${o "gitea.runnerRepo"}: runners of the scope 'repo' need a repository; set runnerRepo or runnerRepoFile")
    ]) ++ kernel { option = o "kernelVersion"; source = cfg.kernelSource; version = cfg.kernelVersion; };

  kernel = { option, source, version }:
    let known = builtins.attrNames (kernels.${source} or { });
    in [
      (claim (source == "nixpkgs" || builtins.elem version known)
        "${option}: no hash is known for the ${source} kernel ${version}; known are ${join known}. For another one set kernelSource = \"nixpkgs\", or its file with settings.kernel.image")
    ];

  # A cluster of which nothing is said.
  unnamed = cluster: cluster // {
    nats = { urls = [ ]; credsFile = null; tls = { caFile = null; certFile = null; keyFile = null; }; };
    host = { name = null; zone = null; labels = [ ]; };
  };

  # The NATS of a cluster.
  queue = cfg:
    let
      o = path: "services.fireactions-queue.${path}";
      count = builtins.length cfg.nodes;
      odd = builtins.filter (host: builtins.match "[A-Za-z0-9_-]{1,63}" host == null) cfg.hosts;
    in
    [
      (claim (cfg.hosts != [ ])
        "${o "hosts"}: nobody may connect; name the cluster's hosts: [ \"ci-1\" \"ci-2\" ]")
      (claim (odd == [ ])
        "${o "hosts"}: ${join (map (host: "'${host}'") odd)} is no name of a host; use 1 to 63 of A-Z a-z 0-9 _ -")
      (claim (util.twice cfg.hosts == [ ])
        "${o "hosts"}: ${join (map (host: "'${host}'") (util.twice cfg.hosts))} is there twice; each host has a name of its own")
      (claim (count == 0 || (count >= 3 && count / 2 * 2 != count))
        "${o "nodes"}: there are ${toString count}; NATS needs an odd number of servers, of which most are there: name three, or none for this one alone")
      (claim (cfg.tls.certFile != null && cfg.tls.keyFile != null && cfg.tls.caFile != null)
        "${o "tls"}: hosts are known by certificates, so NATS needs its own and the authority's; set certFile, keyFile and caFile")
      (outside (o "tls.keyFile") cfg.tls.keyFile)
    ];

  # The cache of registries and of the web, with `networks` that it serves.
  cache = { cfg, networks }:
    let
      o = path: "services.registry-cache.${path}";
      names = builtins.attrNames cfg.zot.mirrors;
      logins = builtins.filter (file: file != null) (map (name: cfg.zot.mirrors.${name}.credentialsFile) names);
      ca = cfg.squid.ca;
      bump = cfg.squid.sslBump;
      opens = cfg.squid.enable && (bump.mode == "all" || (bump.mode == "selective" && bump.domains != [ ]));
    in
    [
      (claim (networks != [ ])
        "services.registry-cache: there is no network to serve; enable services.fireactions or services.fireteact, or name one in ${o "networks"}")
      (claim ((ca.certFile == null) == (ca.keyFile == null))
        "${o "squid.ca"}: certFile and keyFile belong together; set both, or none")
      (claim (builtins.all (file: file == builtins.head logins) logins)
        "${o "zot.mirrors.*.credentialsFile"}: Zot reads one file for all registries; name the same one everywhere")
      (claim (!opens || ca.certFile != null)
        "${o "squid.sslBump"}: nothing gives guests the authority that is made here, so each https connection that Squid opens would fail in them; put the certificate of an authority of your own into the pools' root images and name it with squid.ca.certFile and squid.ca.keyFile, or leave ${if bump.mode == "all" then "mode at \"selective\"" else "domains empty"}")
      (outside (o "squid.ca.keyFile") ca.keyFile)
    ] ++ map (name: outside (o "zot.mirrors.\"${name}\".credentialsFile") cfg.zot.mirrors.${name}.credentialsFile) names;

  # What two services on one host must not share. A service's `where` adds to its options the files that define them.
  together = a: b:
    let
      places = service: import ./places.nix { inherit (service) instance cfg; };
      option = service: name: let path = (places service).said.${name}.option; in "services.${service.instance.name}.${path}${(service.where or (_: "")) path}";
      same = name: let value = service: (places service).${name}; in claim (value a != value b)
        "${option a name} and ${option b name} are both '${value a}'; choose two";
      # Its addresses' options by their ports.
      ports = service: builtins.filter (entry: entry.port != null)
        (map (name: let address = (places service).${name}; in { inherit name; port = if address == null then null else networks.port address; })
          ([ "bindAddress" ] ++ (if (places service).metricsEnable then [ "metricsAddress" ] else [ ])));
      clashes = builtins.concatMap (one: builtins.concatMap (other: if one.port == other.port then [ { inherit one other; } ] else [ ]) (ports b)) (ports a);
      subnet = service: (places service).subnet;
    in
    [
      (claim (!networks.overlap (subnet a) (subnet b))
        "${option a "subnet"} is ${subnet a} and ${option b "subnet"} is ${subnet b}, which overlap; choose networks that have no address in common")
      (same "bridge")
      (same "dataDir")
      (same "apiSocket")
    ] ++ map
      (clash: claim false
        "${option a clash.one.name} and ${option b clash.other.name} both listen at port ${toString clash.one.port}; choose another port for one of them")
      clashes;

  failing = claims: map (claim: claim.message) (builtins.filter (claim: !claim.assertion) claims);
}
