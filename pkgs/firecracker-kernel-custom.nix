# Firecracker's guest kernel with what Docker's bridges need, built here: 10 to 15 minutes.
{ lib, stdenv, buildPackages, fetchurl, fetchFromGitHub, flex, bison, perl, bc, openssl, elfutils, version ? "6.1.141", kernels ? (import ../nix/kernels.nix).custom }:
let
  known = kernels.${version} or (throw "firecracker-kernel-custom: no hash is known for ${version}; known are ${lib.concatStringsSep ", " (lib.attrNames kernels)} (nix/kernels.nix)");
  arm = stdenv.hostPlatform.isAarch64;
  series = lib.versions.majorMinor version;
  base = fetchFromGitHub {
    owner = "firecracker-microvm";
    repo = "firecracker";
    rev = "v${known.firecracker}";
    hash = known.configuration;
  };
  make = "make ARCH=${if arm then "arm64" else "x86_64"} HOSTCC=${buildPackages.stdenv.cc}/bin/cc CROSS_COMPILE=${stdenv.cc.targetPrefix} -j$NIX_BUILD_CORES";
in
stdenv.mkDerivation {
  pname = "firecracker-kernel-custom";
  inherit version;
  src = fetchurl {
    url = "https://cdn.kernel.org/pub/linux/kernel/v${lib.versions.major version}.x/linux-${version}.tar.xz";
    hash = known.source;
  };
  depsBuildBuild = [ buildPackages.stdenv.cc ];
  nativeBuildInputs = [ flex bison perl bc openssl elfutils ];
  hardeningDisable = [ "all" ];
  configurePhase = ''
    cat ${base}/resources/guest_configs/microvm-kernel-ci-${if arm then "aarch64" else "x86_64"}-${series}.config ${./firecracker-kernel-custom.config} > .config
    ${make} olddefconfig
  '';
  buildPhase = "${make} vmlinux";
  installPhase = ''
    install -D -m 644 vmlinux $out/vmlinux
    install -m 644 .config $out/config
  '';
  dontFixup = true;
  meta = {
    description = "Guest kernel of Firecracker's CI, with what Docker's bridges need";
    license = lib.licenses.gpl2Only;
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
