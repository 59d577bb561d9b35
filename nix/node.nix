# The modules of a host, in their order: base → provider → profiles of its tags, alphabetically → hosts/NAME.nix → what is never to be
# lost: the way in.
#   profiles     directory of your own profiles, or none; of one name, yours counts
#   secretsFile  your secrets.yaml, or none: the project's
{ disko, sops-nix, self, directory, profiles ? null, secretsFile ? null }:
let tags = import ./tags.nix { directory = ../profiles; more = profiles; }; in
{ name, host }:
[
  ({ modulesPath, ... }: {
    imports = [ (modulesPath + "/installer/scan/not-detected.nix") (modulesPath + "/profiles/qemu-guest.nix") ];
  })
  disko.nixosModules.disko
  sops-nix.nixosModules.sops
  self.nixosModules.fireactions
  self.nixosModules.fireteact
  ../deploy/disko.nix
  ../deploy/base.nix
  ../deploy/secrets.nix
  { disko.devices.disk.disk1.device = host.platform.disk; }
]
++ (if host.platform.cloudInit then [ ../deploy/digitalocean.nix ] else [ ])
++ (if secretsFile == null then [ ] else [
  # Over the project's, below the host's own word.
  ({ lib, ... }: { sops.defaultSopsFile = lib.mkOverride 900 secretsFile; sops.validateSopsFiles = lib.mkOverride 900 (builtins.pathExists secretsFile); })
])
++ tags.getProfilesForTags host.tags
++ (if builtins.pathExists (directory + "/${name}.nix") then [ (directory + "/${name}.nix") ] else [ ])
++ [
  ({ lib, ... }: {
    services.openssh.enable = lib.mkForce true;
    services.openssh.settings.PermitRootLogin = lib.mkDefault "prohibit-password";
    networking.firewall.allowedTCPPorts = [ 22 ];
    # Over what clouds' modules say: nothing, so that it comes from outside.
    networking.hostName = lib.mkOverride 990 name;
  })
]
