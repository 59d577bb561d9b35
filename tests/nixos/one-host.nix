# One host, as the module makes it: a job in its machine, the API's token, the firewall, what a guest reaches, the end.
# Run by `nix flake check` on a host with KVM; where there is none it is only evaluated (docs/testing.md).
{
  name = "one-host";

  nodes.other = { pkgs, ... }: { environment.systemPackages = [ pkgs.curl ]; };
  nodes.host = { config, ... }: {
    imports = [ ./_host.nix ];
    services.fireactions = {
      enable = true;
      pools = [{
        name = "default";
        maxRunners = 2;
        minRunners = 1;
        runner.image = config.testImage.reference;
        firecracker = { vcpuCount = 1; memSizeMib = 256; };
      }];
    };
  };

  testScript = ''
    import json

    start_all()
    host.wait_for_unit("fireactions.service")

    with subtest("a job runs in a machine of its own, and its exit code is the command's"):
        said = host.succeed("fireactions run -- sh -c 'echo ran on $(uname -n)'")
        assert "ran on " in said and "ran on host" not in said, said
        code, _ = host.execute("fireactions run -- sh -c 'exit 7'")
        assert code == 7, code

    with subtest("the API asks for the token that the first start has made"):
        token = "/var/lib/fireactions/api-token"
        assert host.succeed(f"stat -c '%a %U' {token}").strip() == "600 root"
        pools = "http://127.0.0.1:8080/api/v1/pools"
        status = "curl -s -o /dev/null -w '%{http_code}'"
        assert host.succeed(f"{status} {pools}") == "401"
        assert host.succeed(f"{status} -H \"Authorization: Bearer $(cat {token})\" {pools}") == "200"
        host.succeed("curl -sf http://127.0.0.1:8081/metrics | grep ^fireactions_")

    with subtest("the firewall is closed, to other hosts and to guests"):
        other.wait_for_unit("multi-user.target")
        other.succeed("ping -c 1 host")
        other.fail("curl -s -m 5 http://host:8080/healthz")
        host.succeed("fireactions run -- sh -c '! wget -T 5 -q -O - http://10.200.0.1:8080/healthz'")

    with subtest("the doctor finds nothing that must be mended"):
        report = host.execute("fireactions doctor --config /etc/fireactions/config.yaml --json 2>/dev/null")[1]
        errors = [finding for finding in json.loads(report)["findings"] if finding["severity"] == "error"]
        assert errors == [], errors

    with subtest("nothing is left when it stops"):
        host.succeed("systemctl stop fireactions.service")
        host.fail("pgrep -f '[q]emu-system-x86_64'")
        host.fail("ip -o link show | grep fam")
  '';
}
