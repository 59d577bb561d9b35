{
services.fireactions.registryCache = {
  enable = true;
  mirrors = {
    "docker.io" = {};
    "ghcr.io" = {};
  };
};
}
