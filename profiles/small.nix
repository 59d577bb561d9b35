# One pool: at most 2 machines of 1 GiB and one CPU.
import ./_size.nix "small" 901
