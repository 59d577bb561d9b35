# Stands in for what tests do not build: programs and kernels that only their paths matter of. `binary` is the server under test.
{ binary }:
final: prev:
let
  files = name: paths: final.runCommand name { } ''
    ${builtins.concatStringsSep "\n" (map (path: "mkdir -p $out/${dirOf path}; printf '#!/bin/sh\\n' > $out/${path}; chmod +x $out/${path}") paths)}
  '';
  # As callPackage's results can be.
  kernel = name: final.lib.makeOverridable ({ version ? "6.1.141" }: files "${name}-${version}" [ "vmlinux" ]) { };
in
{
  fireactionsUnderTest = {
    fireactions = final.runCommand "fireactions" { meta.mainProgram = "fireactions"; } "mkdir -p $out/bin; ln -s ${binary} $out/bin/fireactions";
    fireactions-agent = files "fireactions-agent" [ "bin/fireactions-agent" ];
    firecracker-kernel = kernel "firecracker-kernel";
    firecracker-kernel-custom = kernel "firecracker-kernel-custom";
    firecracker = files "firecracker" [ "bin/firecracker" "bin/jailer" ];
    zot = files "zot" [ "bin/zot" ];
  };
}
  # A stand-in of nixpkgs: its kernel stays what it is when NixOS adds patches to it.
// (if prev ? rustPlatform then { } else {
  # The smallest image that skopeo takes.
  dockerTools.buildImage = { name, tag, ... }: final.runCommand "${name}.tar" { } ''
    tar -cf layer.tar --files-from /dev/null
    printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$(sha256sum layer.tar | cut -d ' ' -f 1)" >config.json
    echo '[{"Config":"config.json","RepoTags":["${name}:${tag}"],"Layers":["layer.tar"]}]' >manifest.json
    tar -cf $out manifest.json config.json layer.tar
  '';
  # It checks its own configuration with itself.
  openssh = files "openssh" [ "bin/sshd" "bin/ssh" "bin/ssh-keygen" "libexec/sftp-server" ];
  gitea = prev.gitea // { data = prev.gitea; };
  # What makers of disks ask for; what they do in a machine is never done.
  vmTools = { runInLinuxVM = derivation: derivation; qemu = prev.qemu; };
  OVMF = { fd = prev.OVMF // { firmware = "firmware"; variables = "variables"; }; };
  stdenv = prev.stdenv // { initialPath = [ ]; };
  aggregateModules = _: prev.kmod;
  lkl = prev.e2fsprogs;
  nixos-artwork.wallpapers.simple-dark-gray-bootloader.gnomeFilePath = "/splash.png";
  qemu_kvm = prev.qemu_kvm // { ga = prev.qemu_kvm; };
  xorg = prev.xorg // { xwininfo = prev.kmod; };
  qemu_test = prev.qemu_kvm // { ga = prev.qemu_kvm; };
  cloud-utils = prev.cloud-utils // { guest = prev.cloud-utils; };
  nixos-firewall-tool = files "nixos-firewall-tool" [ "bin/nixos-firewall-tool" ];
  linuxPackages = prev.linuxPackages.extend (_: before:
    let kernel = before.kernel // { override = _: kernel; overrideAttrs = _: kernel; }; in { inherit kernel; });
})
