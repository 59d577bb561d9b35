# Gitea in the loop: a push, a job that Gitea queues, a machine that is made for it, act_runner in the machine, the result at Gitea.
# Run by `nix flake check` on a host with KVM; where there is none it is only evaluated (docs/testing.md).
{
  name = "gitea";

  nodes.gitea = { config, pkgs, ... }: {
    virtualisation.memorySize = 2048;
    services.gitea = {
      enable = true;
      database.type = "sqlite3";
      settings = {
        actions.ENABLED = true;
        service.DISABLE_REGISTRATION = true;
        server = { HTTP_ADDR = "0.0.0.0"; HTTP_PORT = 3000; ROOT_URL = "http://${config.networking.primaryIPAddress}:3000/"; };
      };
    };
    networking.firewall.allowedTCPPorts = [ 3000 ];
    environment.systemPackages = [ config.services.gitea.package pkgs.curl pkgs.jq ];
  };

  nodes.host = { config, lib, nodes, pkgs, ... }: {
    imports = [ ./_host.nix ];
    testImage.paths = [ pkgs.bash pkgs.gitea-actions-runner pkgs.cacert ];
    services.fireteact = {
      enable = true;
      gitea = {
        # By its address: names of these hosts are not in any DNS.
        instanceUrl = "http://${nodes.gitea.networking.primaryIPAddress}:3000";
        apiTokenFile = "/var/lib/secrets/gitea-token";
        runnerOwner = "acme";
      };
      settings.gitea.insecure_http = true;
      pools = [{
        name = "default";
        maxRunners = 1;
        minRunners = 0;
        runner = { image = config.testImage.reference; labels = [ "nixos" ]; };
        firecracker = { vcpuCount = 2; memSizeMib = 512; };
        # Private networks are closed to guests.
        settings.network.allow = [ "${nodes.gitea.networking.primaryIPAddress}/32" ];
      }];
    };
    # Started when the token is there.
    systemd.services.fireteact.wantedBy = lib.mkForce [ ];
  };

  testScript = ''
    import base64
    import json

    start_all()
    gitea.wait_for_unit("gitea.service")
    gitea.wait_for_open_port(3000)

    as_gitea = "su -l gitea -s /bin/sh -c"
    command = "GITEA_WORK_DIR=/var/lib/gitea gitea admin user"
    gitea.succeed(f"{as_gitea} '{command} create --admin --username root-user --password secret-1234 --email root@example.com --must-change-password=false'")
    token = gitea.succeed(f"{as_gitea} '{command} generate-access-token --username root-user --token-name test --scopes all --raw'").split()[-1]

    def api(method: str, path: str, body: object = None) -> str:
        data = "" if body is None else f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
        return gitea.succeed(f"curl -sf -X {method} -H 'Authorization: token {token}' {data} http://127.0.0.1:3000/api/v1/{path}")

    api("POST", "orgs", {"username": "acme"})
    api("POST", "orgs/acme/repos", {"name": "app", "auto_init": True, "default_branch": "main"})

    host.succeed("install -d -m 700 /var/lib/secrets")
    host.succeed(f"umask 077; echo {token} >/var/lib/secrets/gitea-token")
    host.succeed("systemctl start fireteact.service")
    host.wait_until_succeeds("fireactions ps", timeout=120)

    def push(name: str, run: str) -> None:
        workflow = f"on: push\njobs:\n  {name}:\n    runs-on: nixos\n    steps:\n      - run: {run}\n"
        content = base64.b64encode(workflow.encode()).decode()
        api("POST", f"repos/acme/app/contents/.gitea/workflows/{name}.yml", {"content": content, "message": name})

    def finished(count: int) -> list[dict]:
        state = "[.[] | select(.state == \"succeeded\" or .state == \"failed\")] | length"
        host.wait_until_succeeds(f"[ \"$(fireactions jobs list --json | jq '{state}')\" -ge {count} ]", timeout=900)
        return json.loads(host.succeed("fireactions jobs list --json"))

    with subtest("a job of Gitea's runs in a machine, and Gitea has its result"):
        push("good", "echo it ran")
        row = finished(1)[0]
        assert row["state"] == "succeeded" and row["remote"]["repository"] == "acme/app", row
        gitea.wait_until_succeeds(
            f"curl -sf -H 'Authorization: token {token}' http://127.0.0.1:3000/api/v1/repos/acme/app/actions/tasks"
            " | jq -e '.workflow_runs[0].status == \"success\"'",
            timeout=120,
        )

    with subtest("no machine and no runner is left"):
        host.wait_until_succeeds("[ \"$(fireactions ps --json | jq length)\" = 0 ]", timeout=120)
        assert json.loads(api("GET", "orgs/acme/actions/runners"))["total_count"] == 0
  '';
}
