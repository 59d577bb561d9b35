# A job goes on through a restart, a crash and a changed configuration of its server, and its output is there once.
# Run by `nix flake check` on a host with KVM; where there is none it is only evaluated (docs/testing.md).
{
  name = "restart-keeps-jobs";

  nodes.host = { config, lib, ... }: {
    imports = [ ./_host.nix ];
    services.fireactions = {
      enable = true;
      pools = [{
        name = "default";
        maxRunners = 1;
        minRunners = 0;
        runner.image = config.testImage.reference;
        firecracker = { vcpuCount = 1; memSizeMib = 256; };
      }];
    };
    specialisation.quiet.configuration.services.fireactions.logLevel = lib.mkForce "warn";
    system.switch.enable = true;
  };

  testScript = ''
    import json

    host.wait_for_unit("fireactions.service")
    server = "systemctl show --property MainPID --value fireactions.service"
    job = host.succeed("fireactions run --detach -- sh -c 'echo begun; until test -e /tmp/go; do sleep 1; done; echo ended'").strip()

    def row():
        return json.loads(host.succeed(f"fireactions jobs show {job} --json"))

    host.wait_until_succeeds(f"fireactions jobs logs {job} | grep begun", timeout=600)
    machine = row()["machine"]

    with subtest("a restart"):
        before = host.succeed(server)
        host.succeed("systemctl restart fireactions.service")
        assert host.succeed(server) != before
        assert row()["state"] == "running", row()

    with subtest("a crash"):
        before = host.succeed(server)
        host.succeed("systemctl kill --signal KILL --kill-whom main fireactions.service")
        host.wait_until_succeeds(f"systemctl is-active fireactions.service && [ \"$({server})\" != {before.strip()} ]", timeout=120)
        host.wait_until_succeeds("fireactions ps", timeout=120)
        assert row()["state"] == "running", row()

    with subtest("another configuration"):
        before = host.succeed(server)
        host.succeed("/run/current-system/specialisation/quiet/bin/switch-to-configuration test")
        host.wait_until_succeeds(f"[ \"$({server})\" != {before.strip()} ]", timeout=120)
        host.wait_until_succeeds("fireactions ps", timeout=120)
        assert row()["state"] == "running", row()

    with subtest("it was the same machine all the time"):
        assert row()["machine"] == machine, row()
        host.succeed(f"fireactions exec {machine} touch /tmp/go")
        host.wait_until_succeeds(f"fireactions jobs show {job} --json | jq -e '.state == \"succeeded\"'", timeout=300)
        assert row()["attempt"] == 1, row()
        assert host.succeed(f"fireactions jobs logs {job}").split() == ["begun", "ended"]
  '';
}
