# A CNI plugin of Firecracker's. Nothing here needs it; it is for hosts that have other tools for it.
{ lib, buildGoModule, fetchFromGitHub }:
buildGoModule {
  pname = "tc-redirect-tap";
  version = "0-unstable-2025-05-14";
  src = fetchFromGitHub {
    owner = "awslabs";
    repo = "tc-redirect-tap";
    rev = "34bf829e9a5c99df47318c7feeb637576df239fc";
    hash = "sha256-yeokm0aTwlMXmnMcNVRER9cZVuuNqk/RW0HY9vjiPPA=";
  };
  vendorHash = "sha256-gKkWzy+PVlLSOSljFG/T5RmROmfaK/nfXDId4kTeZKM=";
  subPackages = [ "cmd/tc-redirect-tap" ];
  # They need the rights to make network namespaces.
  doCheck = false;
  meta = {
    description = "CNI plugin that redirects traffic to a tap";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "tc-redirect-tap";
  };
}
