# Both modules on one host, at the same time: each has its bridge, ports and places, no guest reaches the other's, and what is done to one
# is nothing to the other.
# Run by `nix flake check` on a host with KVM; where there is none it is only evaluated (docs/testing.md).
{
  name = "two-services";

  nodes.host = { config, ... }: {
    imports = [ ./_host.nix ];
    services.fireactions = {
      enable = true;
      pools = [{
        name = "github";
        maxRunners = 1;
        minRunners = 0;
        runner.image = config.testImage.reference;
        firecracker = { vcpuCount = 1; memSizeMib = 256; };
      }];
    };
    services.fireteact = {
      enable = true;
      # Nobody is there; a machine is kept ready all the same.
      gitea = { instanceUrl = "https://git.invalid"; apiTokenFile = "/etc/gitea-token"; runnerOwner = "acme"; };
      pools = [{
        name = "gitea";
        maxRunners = 1;
        minRunners = 1;
        runner.image = config.testImage.reference;
        firecracker = { vcpuCount = 1; memSizeMib = 256; };
      }];
    };
    environment.etc.gitea-token = { text = "none"; mode = "0400"; };
  };

  testScript = ''
    import json

    host.wait_for_unit("fireactions.service")
    host.wait_for_unit("fireteact.service")
    github = "fireactions --socket /run/fireactions/api.sock"
    gitea = "fireactions --socket /run/fireteact/api.sock"

    def machine(server):
        return json.loads(host.succeed(f"{server} ps --json"))[0]

    with subtest("each has its bridge, its ports and its places"):
        host.succeed("ip -4 addr show fireactions0 | grep 10.200.0.1/24")
        host.succeed("ip -4 addr show fireteact0 | grep 10.201.0.1/24")
        for port in [8080, 8082]:
            host.succeed(f"curl -sf http://127.0.0.1:{port}/healthz")
        for port in [8081, 8083]:
            host.succeed(f"curl -sf http://127.0.0.1:{port}/metrics | grep ^fireactions_")
        host.succeed("test -d /var/lib/fireactions -a -d /var/lib/fireteact")

    job = host.succeed(f"{github} run --detach -- sh -c 'echo begun; until test -e /tmp/go; do sleep 1; done'").strip()
    host.wait_until_succeeds(f"{github} jobs logs {job} | grep begun", timeout=600)
    host.wait_until_succeeds(f"{gitea} ps --json | jq -e '.[0].state == \"ready\"'", timeout=600)
    one, other = machine(github), machine(gitea)

    with subtest("guests of the two do not reach each other"):
        host.fail(f"{github} exec {one['id']} ping -c 1 -W 5 {other['address']}")
        host.fail(f"{gitea} exec {other['id']} ping -c 1 -W 5 {one['address']}")

    with subtest("a restart of one is nothing to the other"):
        host.succeed("systemctl restart fireteact.service")
        host.wait_until_succeeds(f"{gitea} ps", timeout=120)
        assert machine(gitea)["id"] == other["id"]
        assert machine(github)["id"] == one["id"]
        host.succeed("systemctl stop fireteact.service")
        host.succeed(f"{github} exec {one['id']} touch /tmp/go")
        host.wait_until_succeeds(f"{github} jobs show {job} --json | jq -e '.state == \"succeeded\"'", timeout=300)
  '';
}
