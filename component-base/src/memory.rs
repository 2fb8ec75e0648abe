//! Giving memory back that the allocator keeps although it is free.
//!
//! glibc keeps what a burst has freed in the arenas of its threads, for ever where nobody asks. A process that is idle
//! after a burst should be as small as before.

/// Gives free memory back to the system, where the allocator can (glibc); elsewhere it does nothing.
///
/// It takes some milliseconds for a large heap, and holds up allocations of one arena at a time: not for a hot path.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call into libc that takes a number and touches free memory only")]
fn trim() {
    // SAFETY: `malloc_trim` has no preconditions; it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
