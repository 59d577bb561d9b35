# Options → the server's configuration, key by key. What `settings` has is merged last, and wins.
#   instance  one of instances.nix
#   cfg       the service's options
#   host      what the machine's other options say: `cache` (ports of the registry cache or null), `registries` (what the server is told of it, or null), `dns`, `kernelArgs`
#   paths     files that the server is given: kernel, kernelModules, agent, firecracker, jailer, qemu
{ instance, cfg, paths, host ? { cache = null; dns = null; kernelArgs = ""; } }:
let
  util = import ./util.nix;
  networks = import ./networks.nix;
  secrets = import ./secrets.nix { inherit instance cfg; };
  places = import ./places.nix { inherit instance cfg; };
  github = instance.forge == "github";
  text = file: if file == null then null else toString file;
  credential = name: if builtins.any (entry: entry.name == name) secrets.secret then "credential:${name}" else null;

  token =
    if cfg.apiTokenFile != null then "credential:api-token"
    else if places.bindAddress != null && (networks.isOpen places.bindAddress || cfg.basicAuth.enable or false) then "${places.dataDir}/api-token"
    else null;

  # What the network's options open for all pools.
  isolation = cfg.security.network;
  ports = (if host.cache == null then [ ] else map (port: "tcp/${toString port}") host.cache)
    ++ (if !isolation.enable then [ ] else
  map (port: "tcp/${toString port}") isolation.allowedHostPorts
  ++ map (port: "udp/${toString port}") isolation.allowedHostUdpPorts);
  network = {
    host_ports = if ports == [ ] then null else ports;
    allow = if isolation.enable && !isolation.blockCloudMetadata then [ "169.254.0.0/16" ] else null;
  };

  scope = runner:
    if github then {
      organization = if runner.organization != null then runner.organization else cfg.github.organization;
    } else if cfg.gitea.runnerScope == "instance" then { scope = "instance"; }
    else if cfg.gitea.runnerScope == "user" then { scope = "user"; }
    else
      let owner = secrets.valueOr "gitea-runner-owner" cfg.gitea.runnerOwner;
      in if cfg.gitea.runnerScope == "org" then { organization = owner; }
      else { repository = "${toString owner}/${toString (secrets.valueOr "gitea-runner-repo" cfg.gitea.runnerRepo)}"; };

  pool = pool:
    util.merge
      {
        inherit (pool) name;
        max_runners = pool.maxRunners;
        min_runners = pool.minRunners;
        runner = {
          inherit (pool.runner) name image labels;
          image_pull_policy = pool.runner.imagePullPolicy;
        } // scope pool.runner // (if github then { group_id = pool.runner.groupId; } else { });
        firecracker = {
          kernel_args = if pool.firecracker.kernelArgs == "" then null else pool.firecracker.kernelArgs;
          metadata = if pool.firecracker.metadata == { } then null else pool.firecracker.metadata;
          machine_config = {
            vcpu_count = pool.firecracker.vcpuCount;
            mem_size_mib = pool.firecracker.memSizeMib;
          };
        };
        network = if network.host_ports == null && network.allow == null then null else network;
      }
      (util.withoutNulls pool.settings);

  rendered = {
    bind_address = places.bindAddress;
    api_socket = places.apiSocket;
    api_token_file = token;
    state_dir = places.dataDir;
    agent_path = paths.agent;
    log_level = if cfg.debug.enable then "debug" else cfg.logLevel;
    metrics = { enabled = places.metricsEnable; address = places.metricsAddress; };
    network = {
      inherit (places) bridge subnet;
      inherit (host) dns;
    };
    registry_cache = host.registries or null;
    cluster = if cfg.cluster.name == null then null else {
      inherit (cfg.cluster) name;
      nats = {
        inherit (cfg.cluster.nats) urls;
        creds_file = credential "nats-creds";
        tls = {
          ca_file = text cfg.cluster.nats.tls.caFile;
          cert_file = text cfg.cluster.nats.tls.certFile;
          key_file = credential "nats-key";
        };
      };
      host = {
        inherit (cfg.cluster.host) name zone;
        labels = if cfg.cluster.host.labels == [ ] then null else cfg.cluster.host.labels;
      };
    };
    kernel = {
      image = paths.kernel;
      modules = paths.kernelModules;
      args = if host.kernelArgs == "" then null else host.kernelArgs;
    };
    vmm = {
      inherit (cfg) driver;
      cgroup_parent = instance.name;
      uid_base = instance.uidBase;
    } // (if cfg.driver == "firecracker" then {
      firecracker_binary = paths.firecracker;
      jailer_binary = paths.jailer;
    } else { qemu_binary = paths.qemu; });
    pools = map pool cfg.pools;
  } // (if github then {
    github =
      if cfg.github.appId == null && cfg.github.appIdFile == null && cfg.github.tokenFile == null then null
      else {
        app_id = secrets.valueOr "github-app-id" cfg.github.appId;
        app_private_key_file = credential "github-app-key";
        token_file = credential "github-token";
      };
  } else {
    ${cfg.gitea.kind} = {
      url = secrets.valueOr "gitea-instance-url" cfg.gitea.instanceUrl;
      api_token_file = credential "gitea-token";
      runner_token_file = credential "gitea-registration";
    };
  });
in
util.withoutNulls (util.merge rendered (util.withoutNulls cfg.settings))
