//! Waiting for the kernel without holding up other tasks.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does what waits for the kernel before it returns: a caller that is given up finds it done or never begun. Where the
/// runtime has more threads than this one, another takes over the tasks that wait for it meanwhile.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::in_place;

    /// With one worker thread, which waits for a task that has no other thread to run on.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_go_on_meanwhile() {
        let waits = tokio::spawn(async {
            let (told, tells) = mpsc::channel();
            tokio::spawn(async move { told.send(()) });
            in_place(|| tells.recv_timeout(Duration::from_secs(30)))
        });
        assert_eq!(waits.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_waits() {
        assert_eq!(in_place(|| 7), 7);
    }
}
