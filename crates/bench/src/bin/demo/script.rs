//! What the jobs run.

use std::net::Ipv4Addr;

use crate::targets::{LAN, METADATA, PORT};

/// Where the neighbour listens.
pub(crate) const NEIGHBOUR_PORT: u16 = 7000;
/// The bridge's own address: the first of the demo's subnet.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 31, 240, 1);
/// What the neighbour says when it can be reached.
pub(crate) const LISTENING: &str = "listening";

/// Builds and tests an upstream source archive, which is the package's own, unchanged. The image's compiler is tcc, which
/// has no arrays of variable length: it says so to the system's headers by C11's own macro.
pub(crate) const BUILD: &str = "cd /tmp; tar xf /in/source.tar; cd */; \
     ./configure CC=tcc CFLAGS=-D__STDC_NO_VLA__; make; make check";

pub(crate) const FAIL: &str = "echo this one fails on purpose; exit 3";

pub(crate) fn neighbour() -> String {
    format!("echo {LISTENING}; echo neighbour | nc -l -p {NEIGHBOUR_PORT} -q 1")
}

/// Tries to reach what it must not; exits with 0 when nothing answered, with 1 naming what did.
pub(crate) fn intrude(neighbour: Ipv4Addr) -> String {
    let targets = [(neighbour, NEIGHBOUR_PORT), (GATEWAY, PORT), (LAN, PORT), (METADATA, PORT)];
    let tries = targets.map(|(address, port)| format!("try {address} {port}")).join("\n");
    format!(
        "reached=0\n\
         try() {{\n\
           if nc -w 3 $1 $2 </dev/null | grep -q .; then echo \"REACHED $1 $2\"; reached=1\n\
           else echo \"not reached: $1 $2\"; fi\n\
         }}\n\
         {tries}\nexit $reached\n"
    )
}
