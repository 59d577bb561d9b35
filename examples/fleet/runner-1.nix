# hosts/runner-1.nix: what this host alone has. It is over its profiles.
{
  services.fireactions = {
    github.organization = "YOUR-ORG";
    logLevel = "info";
  };
}
