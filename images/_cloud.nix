# What both images have: the base of every host, and cloud-init, which brings the SSH key, the name and the addresses.
{ lib, ... }: {
  imports = [ ../deploy/base.nix ];

  services.cloud-init = { enable = true; network.enable = true; };
  # cloud-init writes networkd's files; without a word from the cloud, DHCP.
  networking.useNetworkd = true;
  networking.hostName = lib.mkDefault "";
}
