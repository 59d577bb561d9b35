//! A thread that stays in the network namespace in which it was made, and does there what it is given.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel};

use tokio::runtime::{Builder, Runtime};

type Work = Box<dyn FnOnce(&Runtime) + Send>;

/// The thread. It ends when this goes.
pub(super) struct Inside {
    work: Sender<Work>,
}

impl Inside {
    /// In the namespace of the calling thread.
    pub(super) fn new() -> Self {
        let (work, given) = channel::<Work>();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            while let Ok(work) = given.recv() {
                work(&runtime);
            }
        });
        Self { work }
    }

    /// Does something there and waits for what it gives. A panic there is one here.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce(&Runtime) -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let work = move |runtime: &Runtime| {
            let _ = done.send(catch_unwind(AssertUnwindSafe(|| work(runtime))));
        };
        self.work.send(Box::new(work)).expect("the thread lives as long as this");
        result.recv().expect("each work gives something").unwrap_or_else(|panic| resume_unwind(panic))
    }
}
