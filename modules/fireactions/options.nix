# The options of a service. Both spellings of an option are one option: the second is an alias.
{ instance }:
{ config, lib, options, pkgs, ... }:
let
  inherit (lib) mkOption mkEnableOption types;
  cfg = config.services.${instance.name};
  base = config.services.microvm-base;
  schema = import ../../nix/schema.nix { inherit lib; };
  packages = import ../../pkgs { inherit pkgs; };
  github = instance.forge == "github";

  file = description: mkOption {
    type = types.nullOr types.path;
    default = null;
    example = "/run/secrets/name";
    description = description + " It must not be in the Nix store, which everybody on the host can read.";
  };
  text = description: mkOption { type = types.nullOr types.str; default = null; inherit description; };
  # Of nixos-fireactions; read, and answered with a warning.
  old = type: description: mkOption { type = types.nullOr type; default = null; inherit description; };

  pool = types.submodule {
    imports = [
      (lib.mkAliasOptionModule [ "machine" "vcpu" ] [ "firecracker" "vcpuCount" ])
      (lib.mkAliasOptionModule [ "machine" "memSizeMib" ] [ "firecracker" "memSizeMib" ])
    ];
    options = {
      name = mkOption { type = types.nullOr types.str; default = null; example = "default"; description = "The pool's name. Each pool needs one of its own."; };
      maxRunners = mkOption { type = types.ints.positive; default = 10; description = "Most machines at once."; };
      minRunners = mkOption { type = types.ints.unsigned; default = 1; description = "Machines that are kept ready while there is no work."; };
      runner = {
        name = mkOption { type = types.str; default = instance.runnerName; description = "Prefix of the runners' names at the forge."; };
        image = mkOption { type = types.str; default = instance.image; description = "Root image: a registry reference, `oci:/directory[:tag]` or `oci-archive:/file[:tag]`."; };
        imagePullPolicy = mkOption { type = types.enum [ "Always" "IfNotPresent" "Never" ]; default = "IfNotPresent"; description = "When the image is looked up at its source."; };
        labels = mkOption { type = types.listOf types.str; default = instance.labels; description = "A job is served when all labels that it asks for are in this list."; };
      } // lib.optionalAttrs github {
        organization = mkOption { type = types.nullOr types.str; default = null; example = "your-org"; description = "GitHub organization whose runners the machines are; without one, that of `services.${instance.name}.github.organization`."; };
        groupId = mkOption { type = types.nullOr types.ints.positive; default = null; description = "Number of the runner group."; };
      };
      firecracker = {
        vcpuCount = mkOption { type = types.ints.positive; default = 2; description = "Virtual CPUs of a machine. Also written as `machine.vcpu`."; };
        memSizeMib = mkOption { type = types.ints.positive; default = 2048; description = "Memory of a machine, in MiB. Also written as `machine.memSizeMib`."; };
        kernelArgs = mkOption { type = types.str; default = ""; description = "Appended to the guest's kernel command line."; };
        metadata = mkOption { type = types.attrsOf types.anything; default = { }; description = "Data for the guest, in Firecracker's metadata service too. It is in the Nix store: no secrets."; };
      };
      settings = mkOption {
        type = schema.pool;
        default = { };
        example = { network.allow = [ "10.20.0.0/16" ]; };
        description = "Every key that the server has for a pool (`pools[]` in docs/reference/config.md). Merged last: what is here wins.";
      };
    };
  };
in
{
  imports = lib.optional (!github)
    (lib.mkAliasOptionModule [ "services" instance.name "debugMode" ] [ "services" instance.name "debug" ]);

  options.services.${instance.name} = {
    enable = mkEnableOption instance.description;
    package = mkOption { type = types.package; default = packages.fireactions; defaultText = lib.literalExpression "fireactions"; description = "The package with the server and the command line."; };
    agentPackage = mkOption { type = types.package; default = packages.fireactions-agent; defaultText = lib.literalExpression "fireactions-agent"; description = "The package with the guests' agent, a static program."; };
    configFile = mkOption { type = types.nullOr types.path; default = null; description = "A configuration file of your own. It takes the place of all options that say what the server does."; };
    dataDir = mkOption { type = types.path; default = "/var/lib/${instance.name}"; description = "The server's state: database, jobs, images."; };
    user = mkOption { type = types.str; default = "root"; description = "Who the server runs as. Another user than root gets the capabilities that it needs, and Firecracker runs without its jailer."; };
    group = mkOption { type = types.str; default = "root"; description = "The server's group."; };
    bindAddress = mkOption { type = types.nullOr types.str; default = instance.bindAddress; description = "Address of the API (`:8080` is every address of the host; null: no TCP at all). Whoever is not on this host needs the token of `apiTokenFile`; without one, the first start makes one in `DATADIR/api-token`."; };
    apiTokenFile = file "File with the API's bearer token.";
    socketActivation = mkOption { type = types.bool; default = false; description = "Whether systemd opens the API's Unix socket and keeps it across restarts and crashes of the server: clients then wait instead of being refused."; };
    openFirewall = mkOption { type = types.bool; default = false; description = "Whether the firewall lets in the ports of `bindAddress` and `metricsAddress`, where these are not on loopback."; };
    logLevel = mkOption { type = types.enum [ "debug" "info" "warn" "error" ]; default = "info"; description = "Least severe log messages that are written."; };
    debug = mkOption {
      type = types.coercedTo types.bool (enable: { inherit enable; }) (types.submodule {
        options = {
          enable = mkOption { type = types.bool; default = false; description = "The same as `logLevel = \"debug\"`."; };
          sshKeyFile = old types.path "Without effect: `fireactions login MACHINE` opens a shell without SSH.";
        };
      });
      default = false;
      description = "`true`: the same as `logLevel = \"debug\"`.";
    };
    metricsEnable = mkOption { type = types.bool; default = true; description = "Whether there are Prometheus metrics at `metricsAddress`."; };
    metricsAddress = mkOption { type = types.str; default = instance.metricsAddress; description = "Address of the metrics."; };
    driver = mkOption { type = types.enum [ "firecracker" "qemu" ]; default = "firecracker"; description = "What runs the machines. Firecracker needs `/dev/kvm`; QEMU emulates without."; };
    firecrackerPackage = mkOption { type = types.package; default = packages.firecracker; defaultText = lib.literalExpression "firecracker"; description = "Firecracker and its jailer, linked statically: the jail has no libraries."; };
    qemuPackage = mkOption { type = types.package; default = pkgs.qemu_kvm; defaultText = lib.literalExpression "pkgs.qemu_kvm"; description = "QEMU, for `driver = \"qemu\"`."; };
    kernelSource = mkOption { type = types.enum [ "upstream" "custom" "nixpkgs" ]; default = base.kernel.source; defaultText = lib.literalExpression "config.services.microvm-base.kernel.source"; description = "The guests' kernel: Firecracker's own (`upstream`), one that runs Docker with bridges (`custom`), or nixpkgs' (`nixpkgs`)."; };
    kernelVersion = mkOption { type = types.str; default = base.kernel.version; defaultText = lib.literalExpression "config.services.microvm-base.kernel.version"; description = "Version of the sources `upstream` and `custom`: one whose hash is known."; };
    kernelPackage = mkOption { type = types.nullOr types.package; default = base.kernel.package; defaultText = lib.literalExpression "config.services.microvm-base.kernel.package"; description = "Kernel of the source `nixpkgs`."; };
    networking = {
      bridgeName = mkOption { type = types.str; default = instance.bridge; description = "The machines' bridge. The server makes and removes it."; };
      subnet = mkOption { type = types.str; default = instance.subnet; description = "The machines' network; its first address is the bridge's."; };
      externalInterface = old types.str "Without effect: packets leave by the host's routes.";
    };
    pools = mkOption { type = types.listOf pool; default = [ ]; description = "Pools of machines, in order of preference."; };
    credentials = mkOption { type = types.attrsOf types.path; default = { }; example = { github-webhook = "/run/secrets/webhook"; }; description = "More secrets, by name: `settings` name them as `credential:NAME`."; };
    cluster = {
      name = text "Name of the cluster whose host this is (docs/cluster.md), the same on all of its hosts; without one, the host is alone.";
      nats = {
        urls = mkOption { type = types.listOf types.str; default = [ ]; example = [ "tls://nats.example.com:4222" ]; description = "Servers of the NATS that the hosts talk through. Of several, one that answers is used."; };
        credsFile = file "File with this host's credentials, as `nsc generate creds` writes it; not needed with a certificate.";
        tls = {
          caFile = mkOption { type = types.nullOr types.path; default = null; description = "Certificates (PEM) of the authorities to trust, in place of the usual ones."; };
          certFile = mkOption { type = types.nullOr types.path; default = null; description = "This host's own certificate (PEM). `services.fireactions-queue` knows hosts by it."; };
          keyFile = file "The key of `certFile`.";
        };
      };
      host = {
        name = mkOption { type = types.nullOr types.str; default = null; example = "ci-1"; description = "Name of this host in the cluster; without one, the host's own up to its first dot."; };
        zone = mkOption { type = types.nullOr types.str; default = null; example = "fsn1-dc3"; description = "What fails together with this host."; };
        labels = mkOption { type = types.listOf types.str; default = [ ]; example = [ "gpu" ]; description = "What this host is or has, in your words."; };
      };
    };
    settings = mkOption {
      type = schema.configuration;
      default = { };
      example = { shutdown.mode = "wait"; };
      description = "Every key of the server's configuration (docs/reference/config.md). Merged last: what is here wins. Lists are replaced.";
    };
    renderedConfig = mkOption { type = types.attrs; readOnly = true; internal = true; description = "What the options say, as the server reads it."; };
  } // (if github then {
    basicAuth = {
      enable = mkOption { type = types.bool; default = false; description = "Of nixos-fireactions. The API takes a bearer token instead (`apiTokenFile`): this makes sure that it asks for one even on loopback."; };
      users = mkOption { type = types.attrsOf types.str; default = { }; description = "Of nixos-fireactions; without effect: passwords would be in the Nix store."; };
    };
    github = {
      appId = mkOption { type = types.nullOr (types.either types.ints.positive types.str); default = null; example = 12345; description = "Id of the GitHub App."; };
      appIdFile = mkOption { type = types.nullOr types.path; default = null; description = "File with the App's id, read at each start. It wins over `appId`."; };
      appPrivateKeyFile = file "File with the App's private key (PEM).";
      tokenFile = file "File with a personal access token, in the place of an App.";
      organization = text "Organization of the pools that name none.";
    };
  } else {
    gitea = {
      kind = mkOption { type = types.enum [ "gitea" "forgejo" ]; default = "gitea"; description = "Which of the two it is."; };
      instanceUrl = text "Where people see it: `https://git.example.com`.";
      instanceUrlFile = mkOption { type = types.nullOr types.path; default = null; description = "File with the address, read at each start. It wins over `instanceUrl`."; };
      apiToken = old types.str "Refused: it would be in the Nix store. Use `apiTokenFile`.";
      apiTokenFile = file "File with an access token. With it the server asks for waiting jobs and registers a runner for each.";
      runnerTokenFile = file "File with a registration token, in the place of `apiTokenFile`. Nobody tells of waiting jobs then, so `minRunners` runners of each pool wait for them.";
      runnerScope = mkOption {
        type = types.enum [ "instance" "org" "repo" "user" ];
        default = if cfg.gitea.runnerTokenFile != null && cfg.gitea.runnerOwner == null && cfg.gitea.runnerOwnerFile == null then "instance" else "org";
        defaultText = lib.literalMD "`org`; `instance` with a registration token and no owner: the token itself says whose runners they are";
        description = "Whose runners the machines are.";
      };
      runnerOwner = text "Owner of the runners, for the scopes `org` and `repo`.";
      runnerOwnerFile = mkOption { type = types.nullOr types.path; default = null; description = "File with the owner, read at each start."; };
      runnerRepo = text "Repository of the runners, for the scope `repo`.";
      runnerRepoFile = mkOption { type = types.nullOr types.path; default = null; description = "File with the repository's name, read at each start."; };
    };
  });
}
