# The options of a service as they are without a value, and what `given` says. Where there is a tree, a test compares it with the
# module's own.
{ instance, given ? { } }:
let
  util = import ../../nix/util.nix;
  pool = util.merge {
    name = null;
    maxRunners = 10;
    minRunners = 1;
    runner = { name = instance.runnerName; inherit (instance) image labels; imagePullPolicy = "IfNotPresent"; }
      // (if instance.forge == "github" then { organization = null; groupId = null; } else { });
    firecracker = { vcpuCount = 2; memSizeMib = 2048; kernelArgs = ""; metadata = { }; };
    settings = { };
  };
  all = util.merge
    ({
      configFile = null;
      dataDir = "/var/lib/${instance.name}";
      user = "root";
      group = "root";
      inherit (instance) bindAddress metricsAddress;
      apiTokenFile = null;
      openFirewall = false;
      logLevel = "info";
      debug = { enable = false; };
      metricsEnable = true;
      driver = "firecracker";
      kernelSource = "upstream";
      kernelVersion = "6.1.141";
      networking = { bridgeName = instance.bridge; inherit (instance) subnet; externalInterface = null; };
      credentials = { };
      socketActivation = false;
      cluster = {
        name = null;
        nats = { urls = [ ]; credsFile = null; tls = { caFile = null; certFile = null; keyFile = null; }; };
        host = { name = null; zone = null; labels = [ ]; };
      };
      settings = { };
      pools = [ ];
      security.network = { enable = false; blockVmToVm = true; blockCloudMetadata = true; rateLimitConnections = 100; allowedHostPorts = [ ]; allowedHostUdpPorts = [ ]; additionalRules = ""; };
    } // (if instance.forge == "github" then {
      basicAuth = { enable = false; users = { }; };
      github = { appId = null; appIdFile = null; appPrivateKeyFile = null; tokenFile = null; organization = null; };
    } else {
      gitea = {
        kind = "gitea";
        instanceUrl = null;
        instanceUrlFile = null;
        apiToken = null;
        apiTokenFile = null;
        runnerTokenFile = null;
        runnerScope = "org";
        runnerOwner = null;
        runnerOwnerFile = null;
        runnerRepo = null;
        runnerRepoFile = null;
      };
    }))
    given;
in
all // { pools = map pool all.pools; }
