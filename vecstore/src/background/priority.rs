//! Priorities of threads on Linux. Elsewhere nothing happens. Errors are ignored, because priorities are only
//! a courtesy.

#![allow(unsafe_code)]

/// Makes the calling thread, and threads that it starts from now on, run after others. They get a tenth of
/// their share of a core if cores are scarce. They also get the idle IO priority: if the disk's scheduler
/// knows priorities, it serves them when others have nothing to read.
///
/// Calling it again changes nothing. The check is needed because a backend may reuse a thread, and priorities
/// are relative.
///
/// A tenth is enough to go on sealing while searches or the application take all cores. Sealing must go on,
/// because writes wait for it once memory is full.
pub(crate) fn lower() {
    #[cfg(target_os = "linux")]
    {
        std::thread_local! {
            static LOWERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
        }
        if !LOWERED.replace(true) {
            linux::lower_cpu();
            linux::set_io(linux::IO_IDLE);
        }
    }
}

/// While it lives, the IO of its thread has the usual priority.
///
/// It serves to make files durable. A journaling file system writes a file's data before it commits, and a
/// commit covers all files. If that waited for an idle disk, the sync of the collection's log would wait too.
pub(crate) struct UsualIo {
    #[cfg(target_os = "linux")]
    before: libc::c_long,
}

impl UsualIo {
    pub(crate) fn new() -> Self {
        #[cfg(target_os = "linux")]
        {
            let before = linux::io();
            linux::set_io(linux::IO_USUAL);
            Self { before }
        }
        #[cfg(not(target_os = "linux"))]
        Self {}
    }
}

impl Drop for UsualIo {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        linux::set_io(self.before);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use libc::c_long;

    /// The nice range has 40 steps. Ten steps change the weight by a factor of nearly ten.
    const NICER: i32 = 10;
    /// `IOPRIO_CLASS_IDLE`, in the upper bits.
    pub(super) const IO_IDLE: c_long = 3 << 13;
    /// `IOPRIO_CLASS_NONE`: the IO priority follows the thread's CPU priority.
    pub(super) const IO_USUAL: c_long = 0;
    /// `IOPRIO_WHO_PROCESS`, and 0 for the calling thread.
    const THIS_THREAD: (c_long, c_long) = (1, 0);

    pub(super) fn lower_cpu() {
        let thread = Some(rustix::thread::gettid());
        if let Ok(nice) = rustix::process::getpriority_process(thread) {
            let _ = rustix::process::setpriority_process(thread, nice + NICER);
        }
    }

    /// The IO priority of the calling thread. Negative if the system does not tell it.
    pub(super) fn io() -> c_long {
        // SAFETY: the call takes two numbers and accesses no memory of the process.
        unsafe { libc::syscall(libc::SYS_ioprio_get, THIS_THREAD.0, THIS_THREAD.1) }
    }

    /// Sets the IO priority of the calling thread. The system refuses an invalid one.
    pub(super) fn set_io(priority: c_long) {
        // SAFETY: the call takes three numbers and accesses no memory of the process.
        unsafe { libc::syscall(libc::SYS_ioprio_set, THIS_THREAD.0, THIS_THREAD.1, priority) };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn nice() -> i32 {
        rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap()
    }

    #[test]
    fn a_thread_and_those_it_starts_are_lowered_and_no_other() {
        let before = (nice(), linux::io());
        let lowered = std::thread::spawn(|| {
            lower();
            let own = (nice(), linux::io());
            lower();
            assert_eq!((nice(), linux::io()), own);
            let started = std::thread::spawn(|| (nice(), linux::io())).join().unwrap();
            assert_eq!(started, own);
            own
        });
        let expected = ((before.0 + 10).min(19), linux::IO_IDLE);
        assert_eq!(lowered.join().unwrap(), expected);
        assert_eq!((nice(), linux::io()), before);
    }

    #[test]
    fn io_is_of_the_usual_priority_while_it_is_asked_for() {
        std::thread::spawn(|| {
            let class = || linux::io() >> 13;
            let before = class();
            lower();
            assert_eq!(class(), linux::IO_IDLE >> 13);
            let usual = UsualIo::new();
            assert_eq!(class(), before);
            drop(usual);
            assert_eq!(class(), linux::IO_IDLE >> 13);
        })
        .join()
        .unwrap();
    }
}
