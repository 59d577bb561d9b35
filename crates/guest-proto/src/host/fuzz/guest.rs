//! Bytes as instructions to a guest that keeps the protocol where it is not told to break it. Plain bytes would never
//! get past the nonce.

use crate::{Exit, GuestHello, GuestMsg, GuestState, JobResult, LogLevel, Unusable};

/// Reads instructions; zeros when there are no more.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    pub(super) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// 0 to 65,535 bytes, in steps that make both small and large ones likely.
    pub(super) fn size(&mut self) -> usize {
        let byte = usize::from(self.byte());
        if byte < 64 { byte } else { (byte - 63) * 341 }
    }

    /// An offset near `near`, or far from all sense.
    pub(super) fn offset(&mut self, near: u64) -> u64 {
        match self.byte() {
            0..=127 => near,
            step @ 128..=191 => near.saturating_add(u64::from(step - 127)),
            step @ 192..=239 => near.saturating_sub(u64::from(step - 191)),
            240..=247 => near.saturating_add(self.size() as u64),
            248 => 0,
            249 => 1 << 30,
            250 => 1 << 63,
            _ => u64::MAX - u64::from(self.byte()),
        }
    }

    pub(super) fn stream(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => 10_000,
            byte => u32::from(byte % 8),
        }
    }

    fn run(&mut self) -> String {
        match self.byte() {
            0..=199 => "j1".to_owned(),
            200..=239 => "j2".to_owned(),
            240 => String::new(),
            241 => "x".repeat(1000),
            _ => String::from_utf8_lossy(self.bytes(4)).into_owned(),
        }
    }

    fn text(&mut self) -> String {
        match self.byte() {
            255 => "é\u{1b}[2J".repeat(5_000),
            count => String::from_utf8_lossy(self.bytes(usize::from(count))).into_owned(),
        }
    }

    fn error(&mut self) -> Option<String> {
        (self.byte() > 127).then(|| self.text())
    }

    fn exit(&mut self) -> Exit {
        match self.byte() {
            255 => Exit::Unstartable(self.text()),
            254 => Exit::Signal(i32::MIN),
            253 => Exit::Code(i32::MAX),
            signal @ 128..=252 => Exit::Signal(i32::from(signal - 128)),
            code => Exit::Code(i32::from(code)),
        }
    }

    /// Made from JSON, as the wire has it, so that a new field needs no care here.
    fn result(&mut self) -> JobResult {
        let notes: Vec<String> = (0..self.byte() % 32).map(|_| self.text()).collect();
        let value = serde_json::json!({
            "exit": self.exit(), "oom_kills": self.byte(), "user_us": 1, "system_us": 1, "max_rss_kib": 1,
            "notes": notes,
        });
        serde_json::from_value(value).unwrap()
    }

    /// `at` is where the job's output really is.
    pub(super) fn hello(&mut self, at: u64) -> GuestMsg {
        let state = match self.byte() % 4 {
            0 => GuestState::Idle,
            1 => GuestState::Configured,
            2 => GuestState::Running { run: self.run(), pid: 1, acked: self.offset(at) },
            _ => GuestState::Exited {
                run: self.run(),
                acked: self.offset(at),
                end: self.offset(at),
                result: self.result(),
            },
        };
        let odd = self.byte();
        GuestMsg::Hello(GuestHello {
            version: u16::from(odd != 255),
            agent_version: if odd == 254 { self.text() } else { "1".to_owned() },
            boot_us: u64::MAX,
            kernel: if odd == 253 { self.text() } else { "6".to_owned() },
            state,
            secret: None,
        })
    }

    pub(super) fn message(&mut self, at: u64) -> GuestMsg {
        match self.byte() % 12 {
            0 => self.hello(at),
            1 => {
                let unusable =
                    (0..self.byte() % 12).map(|disk| Unusable { disk: disk.into(), why: self.text() });
                let unusable = unusable.collect();
                GuestMsg::Configured { error: self.error(), unusable }
            }
            2 => GuestMsg::FileDone { stream: self.stream(), error: self.error() },
            3 => GuestMsg::Started { run: self.run(), pid: 1 },
            4 => GuestMsg::Refused { run: self.run(), error: self.text() },
            5 | 6 => GuestMsg::Exited { run: self.run(), end: self.offset(at), result: self.result() },
            7 => GuestMsg::ExecExited { stream: self.stream(), exit: self.exit() },
            8 => GuestMsg::Pong,
            10 => GuestMsg::Released { error: self.error() },
            9 => GuestMsg::Settled { error: self.error() },
            _ => GuestMsg::Log { level: LogLevel::Debug, text: self.text() },
        }
    }
}
