# Firecracker's own guest kernel, as its CI builds it.
{ lib, stdenvNoCC, fetchurl, version ? "6.1.141", kernels ? (import ../nix/kernels.nix).upstream }:
let
  known = kernels.${version} or (throw "firecracker-kernel: no hash is known for ${version}; known are ${lib.concatStringsSep ", " (lib.attrNames kernels)} (nix/kernels.nix)");
  arch = if stdenvNoCC.hostPlatform.isAarch64 then "aarch64" else "x86_64";
in
stdenvNoCC.mkDerivation {
  pname = "firecracker-kernel";
  inherit version;
  src = fetchurl {
    url = "https://s3.amazonaws.com/spec.ccfc.min/firecracker-ci/${known.branch}/${arch}/vmlinux-${version}";
    hash = known.${arch};
  };
  dontUnpack = true;
  dontFixup = true;
  installPhase = "install -D -m 644 $src $out/vmlinux";
  meta = {
    description = "Guest kernel of Firecracker's CI";
    license = lib.licenses.gpl2Only;
    platforms = [ "x86_64-linux" "aarch64-linux" ];
    sourceProvenance = [ lib.sourceTypes.binaryNativeCode ];
  };
}
