//! Guests under the real Firecracker and its jailer, where `FIREACTIONS_FIRECRACKER_BIN`, `FIREACTIONS_JAILER_BIN` and
//! `FIREACTIONS_LAB_KERNEL` (an ELF `vmlinux` with its drivers built in) name them. Without, each test says that it is not
//! run. They need root and a `/dev/kvm` that runs a guest, however slowly.

mod clones;
mod jail;
mod lab;
mod life;
