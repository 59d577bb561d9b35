# A host of these tests. Its machines are emulated by QEMU, so that they need no KVM inside of KVM; their kernel is nixpkgs', and their image
# has busybox and what `testImage.paths` names.
{ config, lib, pkgs, ... }:
let
  kernel = pkgs.linuxPackages.kernel;
  image = pkgs.dockerTools.buildImage {
    name = "busybox";
    tag = "1";
    # Of two programs with one name, the first.
    copyToRoot = pkgs.buildEnv { name = "root"; paths = config.testImage.paths ++ [ pkgs.busybox ]; pathsToLink = [ "/bin" "/etc" ]; ignoreCollisions = true; };
    extraCommands = ''
      mkdir -p root tmp
      chmod 1777 tmp
    '';
    config = { Cmd = [ "sh" ]; Env = [ "PATH=/bin" "HOME=/root" ]; };
  };
  service = {
    driver = "qemu";
    settings.kernel = {
      image = "${kernel}/${config.system.boot.loader.kernelFile}";
      modules = "${lib.getOutput "modules" kernel}/lib/modules/${kernel.modDirVersion}";
    };
  };
in
{
  options.testImage = {
    paths = lib.mkOption { type = lib.types.listOf lib.types.package; default = [ ]; };
    reference = lib.mkOption { type = lib.types.str; readOnly = true; };
  };

  config = {
    testImage.reference = "oci-archive:${pkgs.runCommand "image.oci.tar" { nativeBuildInputs = [ pkgs.skopeo ]; } ''
      skopeo --insecure-policy --tmpdir "$TMPDIR" copy docker-archive:${image} oci-archive:$out:1
    ''}";
    services.fireactions = service;
    services.fireteact = service;

    virtualisation = { cores = 2; memorySize = 3072; diskSize = 8192; };
    environment.systemPackages = [ pkgs.curl pkgs.jq ];
  };
}
