# Both modules on one host. A network namespace has one server: the second says so and harms nothing, and takes the place of the first when
# that is stopped.
# Run by `nix flake check` on a host with KVM; where there is none it is only evaluated (docs/testing.md).
{
  name = "two-services";

  nodes.host = { config, lib, ... }: {
    imports = [ ./_host.nix ];
    services.fireactions = {
      enable = true;
      pools = [{
        name = "github";
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
        minRunners = 1;
        runner.image = config.testImage.reference;
        firecracker = { vcpuCount = 1; memSizeMib = 256; };
      }];
    };
    environment.etc.gitea-token = { text = "none"; mode = "0400"; };
    systemd.services.fireteact.wantedBy = lib.mkForce [ ];
  };

  testScript = ''
    host.wait_for_unit("fireactions.service")
    github = "fireactions --socket /run/fireactions/api.sock"
    gitea = "fireactions --socket /run/fireteact/api.sock"
    job = host.succeed(f"{github} run --detach -- sh -c 'echo begun; until test -e /tmp/go; do sleep 1; done'").strip()
    host.wait_until_succeeds(f"{github} jobs logs {job} | grep begun", timeout=600)

    with subtest("the second is refused, and says why"):
        host.execute("systemctl start fireteact.service")
        host.wait_until_succeeds("journalctl -u fireteact.service | grep 'another fireactions server runs in this network namespace'", timeout=120)
        host.succeed("systemctl stop fireteact.service")

    with subtest("the first has taken no harm"):
        machine = host.succeed(f"{github} ps --json | jq -r '.[0].id'").strip()
        host.succeed(f"{github} exec {machine} touch /tmp/go")
        host.wait_until_succeeds(f"{github} jobs show {job} --json | jq -e '.state == \"succeeded\"'", timeout=300)

    with subtest("each has names and places of its own"):
        host.succeed("systemctl stop fireactions.service")
        host.succeed("systemctl reset-failed fireteact.service; systemctl start fireteact.service")
        host.wait_until_succeeds(f"{gitea} ps --json | jq -e '.[0].state == \"ready\"'", timeout=600)
        host.succeed("ip -4 addr show fireteact0 | grep 10.201.0.1/24")
        host.succeed("test -d /var/lib/fireactions -a -d /var/lib/fireteact")
        host.fail(f"{gitea} jobs show {job}")
  '';
}
