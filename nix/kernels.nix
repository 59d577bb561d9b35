# Guest kernels whose hashes are known. A version without one is refused: a hash is never made up.
{
  upstream = {
    "6.1.141" = {
      branch = "v1.13";
      x86_64 = "sha256-s2pKGxDzO5z9zePRp4fZwJBVaj7bIRzQbR8/mmx+hyQ=";
      aarch64 = "sha256-aaozCCGewaBwvJqOf4DDs0BW/tiuBe+0TlX3OzGt3kQ=";
    };
  };
  custom = {
    "6.1.141" = {
      source = "sha256-vDxF+vb18EUGZsdfqdrZvHwM98fLoNvZTlz9xYIpwRY=";
      firecracker = "1.13.0";
      configuration = "sha256-FI4w5YxfM8v6dL66rHorcrZ0I6BhhBFBqGh8Q8PgtyA=";
    };
  };
}
