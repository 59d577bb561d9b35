# In a guest with systemd: each unit in turn runs the server, as an operator has it installed. Ends with the first thing that is not well.
set -eu
in=/srv/in
chmod -R a+rX $in; chmod 755 $in/vmm/*
install -m 755 $in/fireactions $in/fireactions-agent /usr/local/bin/
for case in $CASES; do
  trap 'set +e; systemctl status --no-pager fireactions; journalctl --no-pager -n 60' EXIT
  cp $in/$case.service /etc/systemd/system/fireactions.service
  mkdir -p /etc/fireactions
  cp $in/$case.yaml /etc/fireactions/config.yaml
  systemctl daemon-reload
  main() { systemctl show -p MainPID --value fireactions; }
  health() { busybox wget -q -O - http://127.0.0.1:8080/healthz; }
  state() { systemctl show -p ActiveState -p Result --value fireactions | tr '\n' ' '; }

  # It comes back once the server has said that it is ready.
  systemctl start fireactions
  echo "$case started: $(state)"
  echo "$case health: $(health)"
  pid=$(main)
  echo "$case process: $(sed -n 's/^\(NoNewPrivs\|Seccomp\):[[:space:]]*/\1=/p' /proc/$pid/status | tr '\n' ' ')"
  echo "$case system: $(nsenter -t $pid -m touch /usr/local/written 2>&1 | sed 's/.*: //')"
  echo "$case home: $(nsenter -t $pid -m touch /root/written 2>&1 | sed 's/.*: //')"
  echo "$case exposure: $(systemd-analyze security --no-pager fireactions | sed -n 's/.*fireactions.service: \([0-9.]*\).*/\1/p')"

  job=
  if [ $case != module-qemu ]; then
    # A machine: tap, rules, cgroup, a user of its own, a jail, a root image, a scratch disk.
    code=0
    said=$(fireactions run -- sh -c 'echo hello; exit 7' 2>/tmp/err) || code=$?
    [ $code = 7 ] || cat /tmp/err
    echo "$case job: $said $code"
    job=$(fireactions run --detach -- sh -c 'echo begun; hang')
    until fireactions jobs logs $job | grep -q begun; do sleep 0.2; done
  fi

  # A reload, a crash and a restart, of which the job notices nothing.
  systemctl reload fireactions
  until [ "$(main)" != $pid ] && health >/dev/null; do sleep 0.2; done
  pid=$(main)
  kill -9 $pid
  until [ "$(main)" != $pid ] && [ "$(systemctl is-active fireactions)" = active ]; do sleep 0.2; done
  systemctl restart fireactions
  if [ -n "$job" ]; then
    echo "$case job after a reload, a crash and a restart: $(fireactions jobs show --json $job | tr -d ' \n' | grep -o '"state":"[a-z]*"\|"attempt":[0-9]*' | sort | tr '\n' ' ')"
    fireactions jobs cancel $job >/dev/null 2>&1
  fi

  systemctl stop fireactions
  echo "$case stopped: $(state)"
  echo "$case left: $(pgrep -f -c '/[s]rv/in/vmm/' || true) $(ip -o link show type tun | wc -l)"
  rm -rf /var/lib/fireactions
  trap - EXIT
done
