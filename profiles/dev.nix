# Development: every decision in the log, and tools to look around.
{ lib, pkgs, ... }: {
  services.fireactions.logLevel = lib.mkDefault "debug";
  services.fireteact.logLevel = lib.mkDefault "debug";
  environment.systemPackages = [ pkgs.htop pkgs.vim pkgs.curl pkgs.jq ];
  services.journald.extraConfig = lib.mkDefault ''
    SystemMaxUse=4G
    MaxRetentionSec=7day
  '';
}
