# A machine without hardware: no kernel, no boot loader, no file systems.
{ lib, ... }: {
  boot.isContainer = true;
  # It checks its own script with a Perl that is not there.
  system.switch.enable = false;
  system.stateVersion = "24.11";
  documentation.enable = false;
  security.wrappers = lib.mkForce { };
  security.sudo.enable = false;
  environment.stub-ld.enable = false;
  networking.nftables.checkRuleset = false;
  networking.hostName = lib.mkDefault "machine";
}
