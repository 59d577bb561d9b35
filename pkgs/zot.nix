# The registry of the registry cache, with its extension that fetches what is asked for.
{ lib, buildGoModule, fetchFromGitHub }:
buildGoModule rec {
  pname = "zot";
  version = "2.1.11";
  src = fetchFromGitHub {
    owner = "project-zot";
    repo = "zot";
    rev = "v${version}";
    hash = "sha256-j9iS9qN+L9+vUrW7n5oQ6BZ/ssUasWVHTd/7zYTJNEQ=";
  };
  vendorHash = "sha256-jDNSAEDkn/Zt8zzDJ7hCy0U86bebv7tpk68aEHJTNYc=";
  subPackages = [ "cmd/zot" ];
  env.CGO_ENABLED = "0";
  tags = [ "sync" ];
  ldflags = [ "-s" "-w" "-X zotregistry.dev/zot/pkg/api/config.ReleaseTag=v${version}" "-X zotregistry.dev/zot/pkg/api/config.BinaryType=zot" ];
  # They need the network.
  doCheck = false;
  meta = {
    description = "Registry for container images that can be a cache of others";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "zot";
  };
}
