//! Priorities of threads, on Linux; elsewhere nothing happens. They are a courtesy: what the system refuses is no error.

#![allow(unsafe_code)]

/// Has the thread that calls it, and threads it starts from now on, run after others: at a tenth of their share of a core
/// where there are not enough, and with an IO priority at which the disk's scheduler, if it knows priorities, goes on to
/// it when others have nothing to read.
///
/// Calling it again changes nothing: a backend may keep a thread, and priorities are relative.
///
/// A tenth rather than next to nothing: where searches, or the application, take all there is, sealing has to go on, since writes
/// wait for it once memory is full.
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

/// While it lives, IO of the thread that made it has the usual priority.
///
/// For making files durable. A journaling file system writes what a file was given before it commits, and a commit is for all
/// files: were that to wait for an idle disk, so would the sync of the collection's log.
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

    /// Of 40 steps; ten of them are a factor of ten in weight, nearly.
    const NICER: i32 = 10;
    /// `IOPRIO_CLASS_IDLE`, in the upper bits.
    pub(super) const IO_IDLE: c_long = 3 << 13;
    /// `IOPRIO_CLASS_NONE`: that which goes with the thread's CPU priority.
    pub(super) const IO_USUAL: c_long = 0;
    /// `IOPRIO_WHO_PROCESS`, and 0 for the calling thread.
    const THIS_THREAD: (c_long, c_long) = (1, 0);

    pub(super) fn lower_cpu() {
        let thread = Some(rustix::thread::gettid());
        if let Ok(nice) = rustix::process::getpriority_process(thread) {
            let _ = rustix::process::setpriority_process(thread, nice + NICER);
        }
    }

    /// The IO priority of the calling thread; negative where the system does not tell.
    pub(super) fn io() -> c_long {
        // SAFETY: takes two numbers, and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_ioprio_get, THIS_THREAD.0, THIS_THREAD.1) }
    }

    /// Sets the IO priority of the calling thread; one that is none is refused.
    pub(super) fn set_io(priority: c_long) {
        // SAFETY: takes three numbers, and touches no memory of ours.
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
