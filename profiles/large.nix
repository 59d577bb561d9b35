# One pool: at most 10 machines of 4 GiB and four CPUs.
import ./_size.nix "large" 903
