//! Does KVM run a guest, and does the processor do it?
//!
//! That `/dev/kvm` opens says little. There are hosts where it opens, makes a virtual machine and a processor, and
//! then spins for ever, and others whose KVM takes each instruction of a guest's kernel apart in software, a
//! thousand times slower. So a guest of a few bytes is run: in real mode it adds two numbers, tells the sum on a
//! port and halts; in 64-bit mode, with the rights of a kernel, it counts, so that its instructions can be timed.
//!
//! The call may never return, and its thread may not even be killable. Let a process of its own do it, and be
//! ready to give that up.

use std::time::{Duration, Instant};

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use serde::{Deserialize, Serialize};

/// What a guest did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// From opening the device to the end of the guest in real mode, in microseconds.
    pub first_us: u64,
    /// Instructions of a lap of the guest in 64-bit mode: a million.
    pub instructions: u64,
    /// How long the fastest lap took, in microseconds; never 0. The fastest, for others may want the processor, too.
    pub us: u64,
}

impl Ran {
    /// Instructions per second.
    pub fn rate(&self) -> u64 {
        self.instructions.saturating_mul(1_000_000) / self.us.max(1)
    }
}

/// Counting ends after so many laps, or with the one after which it has taken this long.
const LAPS: u32 = 10;
const ENOUGH: Duration = Duration::from_millis(500);

/// Turns of the counting loop in a lap; each is two instructions.
const TURNS: u32 = 500_000;
const LAP: u64 = TURNS as u64 * 2;

/// The port that the guest writes to. 0x80 is the one that PCs show power-on self-test codes on.
const PORT: u16 = 0x80;

// Where things are in the guest's memory, which begins at address 0.
const PAGE: usize = 4096;
const PAGES: usize = 4;
const LEVEL_4: usize = 0x0000;
const LEVEL_3: usize = 0x1000;
const LEVEL_2: usize = 0x2000;
const COUNTING: usize = 0x3000;
const ADDING: usize = 0x3800;

/// `mov al,2; add al,3; out 0x80,al; hlt`
const ADD: [u8; 7] = [0xb0, 2, 0x04, 3, 0xe6, 0x80, 0xf4];

/// `again: mov ecx,TURNS; turn: dec ecx; jnz turn; out 0x80,al; jmp again`
const fn count() -> [u8; 13] {
    let [a, b, c, d] = TURNS.to_le_bytes();
    [0xb9, a, b, c, d, 0xff, 0xc9, 0x75, 0xfc, 0xe6, 0x80, 0xeb, 0xf3]
}

#[repr(C, align(4096))]
struct Memory([u8; PAGE * PAGES]);

impl Memory {
    /// Both programs, and page tables that map the first 2 MiB to themselves.
    fn new() -> Box<Self> {
        let mut memory = Box::new(Self([0; PAGE * PAGES]));
        // Intel SDM volume 3, 4.5: bit 0 present, bit 1 writable, bit 7 of a level 2 entry: a page of 2 MiB.
        for (at, entry) in [(LEVEL_4, LEVEL_3 | 0b11), (LEVEL_3, LEVEL_2 | 0b11), (LEVEL_2, 0b1000_0011)] {
            memory.put(at, &(entry as u64).to_le_bytes());
        }
        memory.put(COUNTING, &count());
        memory.put(ADDING, &ADD);
        memory
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Runs the guest.
///
/// 16 KiB of memory are given up for good with every call.
///
/// # Errors
///
/// In words, what KVM did not do.
pub fn run() -> Result<Ran, String> {
    let began = Instant::now();
    let kvm = Kvm::new().map_err(|error| format!("/dev/kvm cannot be opened: {error}"))?;
    // KVM_API_VERSION of Linux: 12 since 2007, and there is to be no other.
    let version = kvm.get_api_version();
    if version != 12 {
        return Err(format!("/dev/kvm has version {version} of its interface, not 12"));
    }
    let vm = kvm.create_vm().map_err(|error| format!("no virtual machine can be created: {error}"))?;
    // Older Intel processors need three pages outside of the guest's memory to run real mode.
    vm.set_tss_address(0xfffb_d000).map_err(|error| format!("KVM does not accept a task state: {error}"))?;
    give_memory(&vm)?;
    let mut cpu =
        vm.create_vcpu(0).map_err(|error| format!("no virtual processor can be created: {error}"))?;
    let cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|error| format!("KVM does not report its processors' features: {error}"))?;
    cpu.set_cpuid2(&cpuid).map_err(|error| format!("the processor's features cannot be set: {error}"))?;

    add(&mut cpu)?;
    let first_us = micros(began.elapsed());
    let fastest = laps(&mut cpu)?;
    Ok(Ran { first_us, instructions: LAP, us: micros(fastest).max(1) })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[allow(unsafe_code, reason = "KVM is told an address")]
fn give_memory(vm: &VmFd) -> Result<(), String> {
    let memory = Box::into_raw(Memory::new());
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: (PAGE * PAGES) as u64,
        userspace_addr: memory as u64,
    };
    // SAFETY: the address is that of whole pages, which are never freed and which nothing but the guest uses from
    // now on; it is the guest's only region.
    unsafe { vm.set_user_memory_region(region) }.map_err(|error| {
        format!(
            "KVM does not accept memory: \
         {error}"
        )
    })
}

fn add(cpu: &mut VcpuFd) -> Result<(), String> {
    let mut special = special(cpu)?;
    special.cs = kvm_segment { base: 0, selector: 0, ..special.cs };
    start(cpu, &special, ADDING)?;
    let sum = until_told(cpu)?;
    if sum != 5 {
        return Err(format!("the guest added 2 and 3 to {sum}"));
    }
    match go(cpu)? {
        VcpuExit::Hlt => Ok(()),
        other => Err(format!("the guest should have halted, but ended with {other:?}")),
    }
}

/// The time of the fastest lap.
fn laps(cpu: &mut VcpuFd) -> Result<Duration, String> {
    let mut special = special(cpu)?;
    // Intel SDM volume 3, 9.8.5: 64-bit mode is PAE paging and EFER.LME with a code segment that says L.
    special.cr3 = LEVEL_4 as u64;
    special.cr4 = 1 << 5;
    special.cr0 = 1 << 31 | 1 << 5 | 1 << 4 | 1;
    special.efer = 1 << 10 | 1 << 8;
    let flat = kvm_segment { base: 0, limit: 0xffff_ffff, present: 1, s: 1, g: 1, ..kvm_segment::default() };
    special.cs = kvm_segment { selector: 8, type_: 0b1011, l: 1, ..flat };
    let data = kvm_segment { selector: 16, type_: 0b0011, db: 1, ..flat };
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    start(cpu, &special, COUNTING)?;
    let began = Instant::now();
    let mut fastest = Duration::MAX;
    for _ in 0..LAPS {
        let lap = Instant::now();
        until_told(cpu)?;
        fastest = fastest.min(lap.elapsed());
        if began.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(fastest)
}

fn special(cpu: &VcpuFd) -> Result<kvm_sregs, String> {
    cpu.get_sregs().map_err(|error| format!("the processor's registers cannot be read: {error}"))
}

fn start(cpu: &VcpuFd, special: &kvm_sregs, at: usize) -> Result<(), String> {
    // Bit 1 of the flags is always set.
    let plain = kvm_regs { rip: at as u64, rflags: 2, ..kvm_regs::default() };
    cpu.set_sregs(special)
        .and_then(|()| cpu.set_regs(&plain))
        .map_err(|error| format!("the processor's registers cannot be set: {error}"))
}

/// Runs until the guest writes to its port, and returns what.
fn until_told(cpu: &mut VcpuFd) -> Result<u8, String> {
    match go(cpu)? {
        VcpuExit::IoOut(PORT, &[byte]) => Ok(byte),
        other => Err(format!("the guest should have written to a port, but ended with {other:?}")),
    }
}

fn go(cpu: &mut VcpuFd) -> Result<VcpuExit<'_>, String> {
    cpu.run().map_err(|error| format!("the guest does not run: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_are_where_the_tables_lead() {
        let memory = Memory::new();
        let entry = |at: usize| u64::from_le_bytes(memory.0[at..at + 8].try_into().unwrap());
        assert_eq!((entry(LEVEL_4) & !0xfff, entry(LEVEL_3) & !0xfff), (LEVEL_3 as u64, LEVEL_2 as u64));
        assert_eq!(entry(LEVEL_2) & !0xfff, 0, "the page begins at 0, where the programs are");
        assert_eq!(memory.0[COUNTING + 1..COUNTING + 5], TURNS.to_le_bytes());
        assert_eq!(memory.0[ADDING..ADDING + ADD.len()], ADD);
    }

    #[test]
    fn a_rate_is_per_second() {
        assert_eq!(Ran { first_us: 1, instructions: 1_000_000, us: 500_000 }.rate(), 2_000_000);
    }
}
