# What nixos-anywhere installs, one for each kind of disk (`fireactions host deploy` chooses).
{ inputs, lib }:
let
  system = arch: disk: modules: inputs.nixpkgs.lib.nixosSystem {
    system = arch;
    modules = [
      inputs.disko.nixosModules.disko
      inputs.self.nixosModules.fireactions
      ../../deploy/configuration.nix
      { disko.devices.disk.disk1.device = disk; }
    ] ++ modules;
  };
  x86 = system "x86_64-linux";
  arm = system "aarch64-linux";
in
{
  fireactions-node = x86 "/dev/sda" [ ];
  fireactions-node-do = x86 "/dev/vda" [ ../../deploy/digitalocean.nix ];
  fireactions-node-vda = x86 "/dev/vda" [ ];
  fireactions-node-nvme = x86 "/dev/nvme0n1" [ ];
  fireactions-node-arm = arm "/dev/sda" [ ];
  fireactions-node-arm-vda = arm "/dev/vda" [ ];
  fireactions-node-arm-nvme = arm "/dev/nvme0n1" [ ];
}
