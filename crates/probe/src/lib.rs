//! What only the kernel itself can say of a host, by system calls that have no safe wrapper: whether KVM really runs
//! a guest ([`kvm`]), and whether the clock is kept by someone ([`clock`]).

pub mod clock;
pub mod kvm;
