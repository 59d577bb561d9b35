# Where hosts run: the disk that the system is on.
{
  do = { disk = "/dev/vda"; cloudInit = true; };
  hetzner = { disk = "/dev/sda"; cloudInit = false; };
  generic = { disk = "/dev/vda"; cloudInit = false; };
  nvme = { disk = "/dev/nvme0n1"; cloudInit = false; };
  baremetal = { disk = "/dev/sda"; cloudInit = false; };
}
