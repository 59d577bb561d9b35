# The two services. They are one module; what differs, so that both run on one host, is here.
rec {
  fireactions = {
    name = "fireactions";
    forge = "github";
    description = "runners of GitHub, each job in its own microVM";
    bindAddress = ":8080";
    metricsAddress = "127.0.0.1:8081";
    bridge = "fireactions0";
    subnet = "10.200.0.0/24";
    # Machines run as this user id plus their slot.
    uidBase = 1900000000;
    runnerName = "runner";
    image = "ghcr.io/thpham/fireactions-images/ubuntu-24.04-github:latest";
    labels = [ "self-hosted" "fireactions" ];
  };
  fireteact = {
    name = "fireteact";
    forge = "gitea";
    description = "runners of Gitea and Forgejo, each job in its own microVM";
    bindAddress = ":8082";
    metricsAddress = "127.0.0.1:8083";
    bridge = "fireteact0";
    subnet = "10.201.0.0/24";
    uidBase = 1910000000;
    runnerName = "fireteact-runner";
    image = "ghcr.io/thpham/fireactions-images/ubuntu-24.04-gitea:latest";
    labels = [ "self-hosted" "fireteact" "linux" ];
  };
}
