# One pool: at most 5 machines of 2 GiB and two CPUs.
import ./_size.nix "medium" 902
