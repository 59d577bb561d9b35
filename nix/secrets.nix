# Files of the options: which reach the server as credentials of systemd, and which hold a plain value that the configuration needs
# in itself, so that it is filled in when the service starts.
{ instance, cfg }:
let
  util = import ./util.nix;
  github = instance.forge == "github";
  # With the option's whole name.
  given = list: map (entry: { option = "services.${instance.name}.${entry.path}"; } // entry) (builtins.filter (entry: entry.file != null) list);
in
rec {
  # `name` is the credential's; the configuration says `credential:NAME`.
  secret = given ([
    { name = "api-token"; file = cfg.apiTokenFile; path = "apiTokenFile"; }
    { name = "nats-creds"; file = cfg.cluster.nats.credsFile; path = "cluster.nats.credsFile"; }
    { name = "nats-key"; file = cfg.cluster.nats.tls.keyFile; path = "cluster.nats.tls.keyFile"; }
  ] ++ (if github then [
    { name = "github-app-key"; file = cfg.github.appPrivateKeyFile; path = "github.appPrivateKeyFile"; }
    { name = "github-token"; file = cfg.github.tokenFile; path = "github.tokenFile"; }
  ] else [
    { name = "gitea-token"; file = cfg.gitea.apiTokenFile; path = "gitea.apiTokenFile"; }
    { name = "gitea-registration"; file = cfg.gitea.runnerTokenFile; path = "gitea.runnerTokenFile"; }
  ]) ++ map
    (name: { inherit name; file = cfg.credentials.${name}; path = "credentials.${name}"; })
    (builtins.attrNames cfg.credentials));

  # `sample` takes the value's place when the configuration is checked before it is known.
  values = given (if github then [
    { name = "github-app-id"; file = cfg.github.appIdFile; path = "github.appIdFile"; sample = "1"; }
  ] else [
    { name = "gitea-instance-url"; file = cfg.gitea.instanceUrlFile; path = "gitea.instanceUrlFile"; sample = "https://git.invalid"; }
    { name = "gitea-runner-owner"; file = cfg.gitea.runnerOwnerFile; path = "gitea.runnerOwnerFile"; sample = "owner"; }
    { name = "gitea-runner-repo"; file = cfg.gitea.runnerRepoFile; path = "gitea.runnerRepoFile"; sample = "repository"; }
  ]);

  all = secret ++ values;

  placeholder = name: "@${name}@";

  # The value of an option, or what its file's content takes the place of; the file wins, as it does at nixos-fireactions.
  valueOr = name: value:
    if builtins.any (entry: entry.name == name) values then placeholder name else value;
}
